// SPDX-License-Identifier: Apache-2.0
#include "data/experiments/split.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <string>

namespace hh::data {
namespace {

using Catch::Contains;
using Indices = std::vector<std::int64_t>;

/// `per_class` items of each of three classes, in turn; some have a second, higher class.
Labels turns(std::int64_t per_class) {
  Labels labels(3 * per_class, 3);
  for (std::int64_t i = 0; i < labels.items(); ++i) {
    labels.set(i, int(i % 3));
    if (i % 4 == 0) labels.set(i, 2);
  }
  return labels;
}

bool same(const Split& a, const Split& b) {
  return a.query == b.query && a.train == b.train && a.database == b.database;
}

TEST_CASE("a stratified split: counts of each class, class after class", "[data][split]") {
  const Labels labels = turns(20);
  const Split split = stratified_split(labels, 3, 5, 7);
  REQUIRE(split.query.size() == 9);
  REQUIRE(split.train.size() == 15);
  REQUIRE(split.database.size() == 36);
  Indices all;
  for (const auto& [part, per_class] :
       {std::pair(split.query, 3), std::pair(split.train, 5), std::pair(split.database, 12)}) {
    for (std::size_t i = 0; i < part.size(); ++i) {
      REQUIRE(labels.first_class(part[i]) == int(i) / per_class);
    }
    all.insert(all.end(), part.begin(), part.end());
  }
  REQUIRE(std::set(all.begin(), all.end()).size() == 60);
  REQUIRE_NOTHROW(check_split(split, 60));
  REQUIRE_FALSE(std::is_sorted(split.database.begin(), split.database.begin() + 12));
}

TEST_CASE("a split depends on the seed and on nothing else", "[data][split]") {
  const Labels labels = turns(20);
  REQUIRE(same(stratified_split(labels, 3, 5, 7), stratified_split(labels, 3, 5, 7)));
  REQUIRE_FALSE(same(stratified_split(labels, 3, 5, 7), stratified_split(labels, 3, 5, 8)));
  // More training images a class: the queries stay.
  REQUIRE(stratified_split(labels, 3, 5, 7).query == stratified_split(labels, 3, 9, 7).query);
}

TEST_CASE("stratified_split names what it refuses", "[data][split]") {
  REQUIRE_THROWS_WITH(stratified_split(turns(5), 3, 3, 0),
                      Contains("class 0 has 5 images, and 3 queries and 3 training"));
  REQUIRE_THROWS_AS(stratified_split(turns(5), -1, 3, 0), std::invalid_argument);
  REQUIRE_THROWS_WITH(stratified_split(Labels(4, 2), 0, 0, 0), Contains("item 0 has no class"));
}

TEST_CASE("hold_out takes some out and keeps the order", "[data][split]") {
  Indices items;
  for (std::int64_t i = 0; i < 100; ++i) items.push_back((i * 37) % 101);
  const auto [kept, held] = hold_out(items, 10, 3);
  REQUIRE(kept.size() == 90);
  REQUIRE(held.size() == 10);
  Indices merged;
  std::merge(kept.begin(), kept.end(), held.begin(), held.end(), std::back_inserter(merged),
             [&](auto a, auto b) {
               return std::find(items.begin(), items.end(), a) <
                      std::find(items.begin(), items.end(), b);
             });
  REQUIRE(merged == items);
  REQUIRE(hold_out(items, 10, 3).second == held);
  REQUIRE(hold_out(items, 10, 4).second != held);
  REQUIRE(hold_out(items, 0, 3).second.empty());
  REQUIRE(hold_out(items, 100, 3).first.empty());
  REQUIRE_THROWS_AS(hold_out(items, 101, 3), std::invalid_argument);
}

TEST_CASE("check_split finds strays, repeats and queries elsewhere", "[data][split]") {
  REQUIRE_NOTHROW(check_split({{0}, {1, 2}, {2, 3}}, 4));
  REQUIRE_THROWS_WITH(check_split({{0}, {1}, {4}}, 4), Contains("database holds item 4"));
  REQUIRE_THROWS_WITH(check_split({{-1}, {}, {}}, 4), Contains("query holds item -1"));
  REQUIRE_THROWS_WITH(check_split({{}, {1, 2, 1}, {}}, 4), Contains("train holds item 1 twice"));
  REQUIRE_THROWS_WITH(check_split({{1}, {1}, {}}, 4), Contains("item 1 is a query and in train"));
  REQUIRE_THROWS_WITH(check_split({{1}, {}, {1}}, 4), Contains("query and in database"));
}

}  // namespace
}  // namespace hh::data
