// SPDX-License-Identifier: Apache-2.0
#include "pipeline/evaluation.h"

#include <catch2/catch.hpp>

namespace hh::pipeline {
namespace {

using Catch::Contains;
using Names = std::vector<std::string>;

/// Two items a class: class c has the code with byte c of `bytes`, far from all others.
retrieval::CodeSet items(const Names& names, const std::vector<std::uint8_t>& bytes) {
  retrieval::CodeSet set;
  set.classes = int(bytes.size());
  set.class_names = names;
  std::vector<std::uint8_t> codes;
  for (int c = 0; c < set.classes; ++c) {
    for (int twice = 0; twice < 2; ++twice) {
      set.ids.push_back(set.count() + std::int64_t(codes.size()));
      codes.push_back(bytes[std::size_t(c)]);
      retrieval::append_labels(set.labels, set.classes, std::vector<int>{c});
    }
  }
  set.codes = retrieval::PackedCodes::from_bytes(codes, std::int64_t(codes.size()), 8);
  return set;
}

constexpr std::uint8_t kBird = 0x00, kCat = 0x0f, kDog = 0xf0, kFish = 0xff;

double map_of(const EvaluationReport& report) {
  return report.evaluation.map[retrieval::TieRule::kStable];
}

TEST_CASE("classes are matched by name where both sides name them", "[evaluation]") {
  // Copies of database items: every one is found first, whatever its class's number.
  const auto database = items({"cat", "dog", "fish"}, {kCat, kDog, kFish});
  const auto same = evaluate_codes(database, database, {});
  CHECK(map_of(same) == 1.0);
  CHECK(same.note.empty());

  const auto turned = evaluate_codes(items({"fish", "cat"}, {kFish, kCat}), database, {});
  CHECK(map_of(turned) == 1.0);
  CHECK(turned.class_names == Names{"cat", "dog", "fish"});
  CHECK(turned.database_only == Names{"dog"});
  CHECK_THAT(turned.note, Contains("only the database has 'dog'"));

  const auto birds =
      evaluate_codes(items({"bird", "dog", "fish"}, {kBird, kDog, kFish}), database, {});
  CHECK(map_of(birds) == Approx(2.0 / 3));  // birds find nothing relevant and count 0
  CHECK(birds.queries_only == Names{"bird"});
  CHECK(birds.evaluation.without_relevant == 2);
  REQUIRE(birds.evaluation.classes.size() == 4);
  CHECK(birds.class_name(3) == "bird");
  CHECK(birds.evaluation.classes[3].database == 0);
  for (const std::size_t c : {1u, 2u}) {  // dog, fish
    CHECK(birds.evaluation.classes[c].map[retrieval::TieRule::kStable] == 1.0);
  }
  CHECK_THAT(birds.note, Contains("only the queries have 'bird'"));
}

TEST_CASE("queries that share no class with the database are refused", "[evaluation]") {
  CHECK_THROWS_WITH(
      evaluate_codes(items({"bird", "owl"}, {kBird, kDog}), items({"cat", "fish"}, {kCat, kFish}),
                     {}),
      Contains("share no class") && Contains("'bird', 'owl'") && Contains("'cat', 'fish'"));
  CHECK_THROWS_WITH(evaluate_codes(items({"cat", "cat"}, {kBird, kDog}),
                                   items({"cat", "fish"}, {kCat, kFish}), {}),
                    Contains("two classes of the queries are called 'cat'"));
}

TEST_CASE("without names, class numbers are compared, and other counts are told", "[evaluation]") {
  const auto named = items({"cat", "dog", "fish"}, {kCat, kDog, kFish});
  const auto plain = evaluate_codes(items({}, {kCat, kDog, kFish}), named, {});
  CHECK(map_of(plain) == 1.0);
  CHECK(plain.note.empty());
  CHECK(plain.class_names == named.class_names);
  const auto fewer = evaluate_codes(items({}, {kCat, kDog}), named, {});
  CHECK(map_of(fewer) == 1.0);
  CHECK_THAT(fewer.note, Contains("the queries have 2 classes, the database 3"));
  CHECK(fewer.class_names == named.class_names);
  const auto more = evaluate_codes(named, items({}, {kCat, kDog}), {});
  CHECK(map_of(more) == Approx(2.0 / 3));
}

TEST_CASE("labels past the first 64 classes are matched too", "[evaluation]") {
  Names forward, back;
  std::vector<std::uint8_t> codes(70, kBird), reversed;
  codes[0] = kFish;
  for (int c = 0; c < 70; ++c) forward.push_back("class " + std::to_string(c));
  back.assign(forward.rbegin(), forward.rend());
  reversed.assign(codes.rbegin(), codes.rend());
  const auto report = evaluate_codes(items(back, reversed), items(forward, codes), {.top_k = 2});
  CHECK(report.evaluation.classes[0].map[retrieval::TieRule::kStable] == 1.0);
  CHECK(report.evaluation.classes[0].queries == 2);
}

}  // namespace
}  // namespace hh::pipeline
