// SPDX-License-Identifier: Apache-2.0
#include "retrieval/engines/milvus/item_json.h"

#include <catch2/catch.hpp>

namespace hh::retrieval {
namespace {

TEST_CASE("An item's description is kept as one JSON object", "[milvus]") {
  CHECK(item_json({}) == "{}");
  CHECK(item_json({.path = "a/\"b\".jpg", .labels = {1, 70}, .metadata = "{ \"year\" : 1}"}) ==
        "{\"l\":[1,70],\"p\":\"a/\\\"b\\\".jpg\",\"m\":{ \"year\" : 1}}");
}

TEST_CASE("A description comes back as it was", "[milvus]") {
  const std::string path = GENERATE("", "a.jpg", "\xff\x80 \\x41 \\xff \"\n\\", "\xc3\xa4");
  const std::string metadata =
      GENERATE("", "{}", "{ \"a\" : [1, {\"b\":\"}\"}],\"a\":2 }", "{\"m\":\"\\u00e4\"}");
  const std::vector<int> labels = GENERATE(std::vector<int>{}, std::vector<int>{0, 5, 65535});
  const auto back = parse_item_json(item_json({path, labels, metadata}));
  REQUIRE(back);
  CHECK(back->path == path);
  CHECK(back->metadata == metadata);
  CHECK(back->labels == labels);
}

TEST_CASE("What another program wrote is no description", "[milvus]") {
  const std::string text =
      GENERATE("", "{", "}", "[]", "null", "{}}", "{\"l\":[]}", "{\"l\":[1,}", "{\"l\":[2,1]}",
               "{\"l\":[1,1]}", "{\"l\":[-1]}", "{\"l\":[65536]}", "{\"l\":[99999999999]}",
               "{\"l\":[1]", "{\"l\":[1]\"p\":\"a\"}", "{\"p\":}", "{\"p\":\"a}", "{\"p\":\"a\\",
               "{\"p\":1}", "{\"p\":\"\"}", "{\"m\":}", "{\"m\":1}", "{\"m\":{}", "{\"m\":{}}}",
               "{\"m\":{},\"p\":\"a\"}", "{\"x\":1}", "{\"l\":[1],}");
  CAPTURE(text);
  CHECK_FALSE(parse_item_json(text));
}

}  // namespace
}  // namespace hh::retrieval
