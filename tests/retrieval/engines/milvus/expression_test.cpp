// SPDX-License-Identifier: Apache-2.0
// That Milvus understands it as Index::select() does is tested against a server: tests/engines/milvus_test.py.
#include "retrieval/engines/milvus/expression.h"

#include <catch2/catch.hpp>
#include <limits>

namespace hh::retrieval {
namespace {

MilvusCondition condition_of(const std::vector<CollectionFilter>& filters, bool zeros = false) {
  const auto has_lists = [](const std::string& key) { return key == "lists"; };
  return milvus_condition(filters, {.has_lists = has_lists, .has_zeros = zeros});
}

std::string text_of(const std::string& filter, const std::vector<int>& classes = {}) {
  const std::vector<CollectionFilter> filters{
      {.filter = IndexFilter::parse(filter), .classes = classes}};
  const MilvusCondition condition = condition_of(filters);
  return condition.text + (condition.rest.empty() ? "" : " ...");
}

TEST_CASE("A filter in Milvus' language", "[milvus]") {
  CHECK(text_of("id>=7") == "id >= 7");
  CHECK(text_of("label=a,b", {3, 9}) == "json_contains_any(item[\"l\"],[3,9])");
  CHECK(text_of("label!=a", {3}) == "not (json_contains_any(item[\"l\"],[3]))");
  CHECK(text_of("path!=a/b.jpg") == "not (item[\"p\"] == \"a/b.jpg\")");
  CHECK(text_of("camera=X1") == "(item[\"m\"][\"camera\"] == \"X1\")");
  CHECK(text_of("shot.year>2020") == "(item[\"m\"][\"shot\"][\"year\"] > 2.02000000000000000e+03)");
  CHECK(text_of("year!=5") ==
        "not (item[\"m\"][\"year\"] == 5.00000000000000000e+00 or item[\"m\"][\"year\"] == \"5\")");
  CHECK(text_of("camera>b") == "(item[\"m\"][\"camera\"] > \"b\")");
  CHECK(text_of("lists=b") == "(item[\"m\"][\"lists\"] == \"b\")");
  CHECK(text_of("lists>5") == "(item[\"m\"][\"lists\"] > 5.00000000000000000e+00)");
  CHECK(text_of("night=true") == "(item[\"m\"][\"night\"] == true)");
}

TEST_CASE("Filters of Milvus: both of two", "[milvus]") {
  const std::vector<CollectionFilter> filters{
      {.filter = IndexFilter::parse("id>1"), .classes = {}},
      {.filter = IndexFilter::parse("id<9"), .classes = {}}};
  CHECK(condition_of(filters).text == "(id > 1) and (id < 9)");
}

TEST_CASE("A glob is a range of paths where it can be", "[milvus]") {
  CHECK(text_of("path~a/*") == "(item[\"p\"] >= \"a/\" and item[\"p\"] < \"a0\")");
  CHECK(text_of("path~*") == "item[\"p\"] >= \"\"");
  CHECK(text_of("path~a.jpg") == "item[\"p\"] == \"a.jpg\"");
  // The least text above: of two bytes, at the end of what one and two bytes can hold, and past the
  // surrogates.
  CHECK(text_of("path~\xc3\xa4*") ==
        "(item[\"p\"] >= \"\xc3\xa4\" and item[\"p\"] < \"\xc3\xa5\")");
  CHECK(text_of("path~\xc3\xbf*") ==
        "(item[\"p\"] >= \"\xc3\xbf\" and item[\"p\"] < \"\xc4\x80\")");
  CHECK(text_of("path~\xdf\xbf*") ==
        "(item[\"p\"] >= \"\xdf\xbf\" and item[\"p\"] < \"\xe0\xa0\x80\")");
  CHECK(text_of("path~\xed\x9f\xbf*") ==
        "(item[\"p\"] >= \"\xed\x9f\xbf\" and item[\"p\"] < \"\xee\x80\x80\")");
  CHECK(text_of("path~\xef\xbf\xbf*") ==
        "(item[\"p\"] >= \"\xef\xbf\xbf\" and item[\"p\"] < \"\xf0\x90\x80\x80\")");
  CHECK(text_of("path~a\xf4\x8f\xbf\xbf*") ==
        "(item[\"p\"] >= \"a\xf4\x8f\xbf\xbf\" and item[\"p\"] < \"b\")");
}

TEST_CASE("What Milvus can't say exactly is left to the caller", "[milvus]") {
  const std::string filter =
      GENERATE("year=null", "a\"b=1", "a\\b=1", "a].b=1", "a[0=1", "a.0.b=1", "a..b=1", "a/b=1",
               "list=[1]", "lists>b", "year<9007199254740992", "year=inf", "name=a\nb", "name=\xff",
               "path~a\\*", "path=a\nb");
  CAPTURE(filter);
  CHECK(text_of(filter) == " ...");
}

TEST_CASE("A character 0 in some item's text: comparisons of text are left to the caller",
          "[milvus]") {
  const auto left = [](const std::string& filter) {
    const std::vector<CollectionFilter> filters{
        {.filter = IndexFilter::parse(filter), .classes = {1}}};
    return condition_of(filters, true).rest.size() == 1;
  };
  for (const std::string filter : {"a=b", "a!=b", "a<b", "a=5", "path~a*"}) {
    CAPTURE(filter);
    CHECK(left(filter));
  }
  for (const std::string filter : {"a=true", "a<5", "path=a", "label=a", "id=1"}) {
    CAPTURE(filter);
    CHECK_FALSE(left(filter));
  }
}

TEST_CASE("What Milvus can say of a glob is said", "[milvus]") {
  CHECK(text_of("path~[ab]*") == "item[\"p\"] >= \"\" ...");
  CHECK(text_of("path~a/*.jpg") == "(item[\"p\"] >= \"a/\" and item[\"p\"] < \"a0\") ...");
}

TEST_CASE("Text of users stays between its quotes", "[milvus]") {
  CHECK(text_of("path=\" or id > 0 or \"") == "item[\"p\"] == \"\\\" or id > 0 or \\\"\"");
  CHECK(text_of("camera=a\\\" or id > 0") ==
        "(item[\"m\"][\"camera\"] == \"a\\\\\\\" or id > 0\")");
}

TEST_CASE("The least id, which Milvus can't read", "[milvus]") {
  constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();
  CHECK(id_condition("<", kLeast) == "id in []");
  CHECK(id_condition("<=", kLeast) == "id < -9223372036854775807");
  CHECK(id_condition("==", kLeast) == "id < -9223372036854775807");
  CHECK(id_condition(">=", kLeast) == "id != 0 or id == 0");
  CHECK(id_condition(">", kLeast) == "id >= -9223372036854775807");
  CHECK(id_condition("!=", kLeast) == "id >= -9223372036854775807");
  const std::vector<std::int64_t> ids{1, kLeast, -2}, least{kLeast};
  CHECK(ids_condition(ids) == "id in [1,-2] or id < -9223372036854775807");
  CHECK(ids_condition(least) == "id in [] or id < -9223372036854775807");
}

}  // namespace
}  // namespace hh::retrieval
