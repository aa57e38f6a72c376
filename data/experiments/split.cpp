// SPDX-License-Identifier: Apache-2.0
#include "data/experiments/split.h"

#include <algorithm>

#include "data/experiments/shuffle.h"
#include "engine/text/counted.h"
#include "kernels/core/check.h"

namespace hh::data {
namespace {
constexpr std::uint32_t kHoldOutStream = 0xffffffffu;  // classes use theirs, which are below 2^16
}  // namespace

Split stratified_split(const Labels& labels, std::int64_t query_per_class,
                       std::int64_t train_per_class, std::uint64_t seed,
                       const std::vector<std::string>& class_names) {
  HH_REQUIRE(query_per_class >= 0 && train_per_class >= 0,
             "data.query_per_class = " << query_per_class << " and data.train_per_class = "
                                       << train_per_class << ": use 0 or more");
  std::vector<std::vector<std::int64_t>> members(std::size_t(labels.classes()));
  for (std::int64_t i = 0; i < labels.items(); ++i) {
    const int c = labels.first_class(i);
    HH_REQUIRE(c >= 0,
               "split: item " << i << " has no class; give it one, or take it out of the lists");
    members[std::size_t(c)].push_back(i);
  }
  Split split;
  for (std::size_t c = 0; c < members.size(); ++c) {
    auto& items = members[c];
    HH_REQUIRE(std::int64_t(items.size()) >= query_per_class + train_per_class,
               "split: class " << (c < class_names.size() ? class_names[c] : std::to_string(c))
                               << " has " << counted(items.size(), "image") << ", and "
                               << counted(query_per_class, "query", "queries") << " and "
                               << train_per_class << " training images are asked of each");
    shuffle(items, Philox(seed, RandomPurpose::kSplit, std::uint32_t(c)));
    const auto queries = items.begin(), training = queries + query_per_class,
               rest = training + train_per_class;
    split.query.insert(split.query.end(), queries, training);
    split.train.insert(split.train.end(), training, rest);
    split.database.insert(split.database.end(), rest, items.end());
  }
  return split;
}

std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> hold_out(
    const std::vector<std::int64_t>& items, std::int64_t count, std::uint64_t seed) {
  HH_PRECONDITION(count >= 0 && count <= std::int64_t(items.size()),
                  "hold_out: " << count << " of " << items.size() << " items");
  std::vector<std::int64_t> order(items.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = std::int64_t(i);
  shuffle(order, Philox(seed, RandomPurpose::kSplit, kHoldOutStream));
  std::vector<bool> taken(items.size(), false);
  for (std::int64_t i = 0; i < count; ++i) taken[std::size_t(order[std::size_t(i)])] = true;
  std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> parts;
  for (std::size_t i = 0; i < items.size(); ++i) {
    (taken[i] ? parts.second : parts.first).push_back(items[i]);
  }
  return parts;
}

void check_split(const Split& split, std::int64_t items) {
  enum : std::uint8_t { kQuery = 1, kTrain = 2, kDatabase = 4 };
  std::vector<std::uint8_t> seen(std::size_t(items), 0);
  const auto see = [&](const std::vector<std::int64_t>& part, std::uint8_t bit, const char* name) {
    for (const std::int64_t i : part) {
      HH_REQUIRE(i >= 0 && i < items, "split: " << name << " holds item " << i << ", and there are "
                                                << counted(items, "item")
                                                << ": items are numbered from 0");
      auto& mark = seen[std::size_t(i)];
      HH_REQUIRE((mark & bit) == 0,
                 "split: " << name << " holds item " << i << " twice: list each once");
      mark |= bit;
      HH_REQUIRE(bit == kQuery || (mark & kQuery) == 0, "split: item "
                                                            << i << " is a query and in " << name
                                                            << ": take it out of one of them");
    }
  };
  see(split.query, kQuery, "query");
  see(split.train, kTrain, "train");
  see(split.database, kDatabase, "database");
}

}  // namespace hh::data
