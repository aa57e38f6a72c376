// SPDX-License-Identifier: Apache-2.0
#include "data/experiments/split.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "data/experiments/shuffle.h"
#include "engine/files/file.h"
#include "kernels/core/check.h"

namespace hh::data {
namespace {
constexpr std::uint32_t kHoldOutStream = 0xffffffffu;  // classes use theirs, which are below 2^16
}  // namespace

Split stratified_split(const Labels& labels, std::int64_t query_per_class,
                       std::int64_t train_per_class, std::uint64_t seed,
                       const std::vector<std::string>& class_names) {
  HH_REQUIRE(query_per_class >= 0 && train_per_class >= 0,
             "split: " << query_per_class << " queries and " << train_per_class
                       << " training images a class");
  std::vector<std::vector<std::int64_t>> members(std::size_t(labels.classes()));
  for (std::int64_t i = 0; i < labels.items(); ++i) {
    const int c = labels.first_class(i);
    HH_REQUIRE(c >= 0, "split: item " << i << " has no class");
    members[std::size_t(c)].push_back(i);
  }
  Split split;
  for (std::size_t c = 0; c < members.size(); ++c) {
    auto& items = members[c];
    HH_REQUIRE(std::int64_t(items.size()) >= query_per_class + train_per_class,
               "split: class " << (c < class_names.size() ? class_names[c] : std::to_string(c))
                               << " has " << items.size()
                               << (items.size() == 1 ? " image, and " : " images, and ")
                               << query_per_class << " queries and " << train_per_class
                               << " training images are asked of each");
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
  HH_REQUIRE(count >= 0 && count <= std::int64_t(items.size()),
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
      HH_REQUIRE(i >= 0 && i < items,
                 "split: " << name << " holds item " << i << ", and there are " << items);
      auto& mark = seen[std::size_t(i)];
      HH_REQUIRE((mark & bit) == 0, "split: " << name << " holds item " << i << " twice");
      mark |= bit;
      HH_REQUIRE(bit == kQuery || (mark & kQuery) == 0,
                 "split: item " << i << " is a query and in " << name);
    }
  };
  see(split.query, kQuery, "query");
  see(split.train, kTrain, "train");
  see(split.database, kDatabase, "database");
}

void write_split(const std::filesystem::path& path, const Split& split, std::string_view protocol,
                 std::uint64_t seed, std::int64_t items) {
  check_split(split, items);
  const nlohmann::ordered_json json = {{"format", "hybridhash split 1"},
                                       {"protocol", protocol},
                                       {"seed", seed},
                                       {"items", items},
                                       {"query", split.query},
                                       {"train", split.train},
                                       {"database", split.database}};
  write_file_atomically(path, json.dump() + "\n");
}

Split parse_split(std::string_view text, std::string_view protocol, std::int64_t items) {
  try {
    const auto json = nlohmann::json::parse(text);
    if (json.at("format") != "hybridhash split 1") {
      throw std::runtime_error("its format is " + json.at("format").dump());
    }
    if (json.at("protocol") != protocol || json.at("items") != items) {
      throw std::runtime_error(
          "it is of protocol " + json.at("protocol").dump() + " with " + json.at("items").dump() +
          " items; wanted: " + std::string(protocol) + " with " + std::to_string(items));
    }
    const auto part = [&](const char* name) {
      // Each element is checked: the library would turn 1.5 and true into integers.
      std::vector<std::int64_t> indices;
      if (!json.at(name).is_array()) throw std::runtime_error(std::string(name) + " is no array");
      for (const auto& v : json.at(name)) {
        if (!v.is_number_integer()) {
          throw std::runtime_error(std::string(name) + " holds " + v.dump());
        }
        indices.push_back(v.get<std::int64_t>());
      }
      return indices;
    };
    Split split = {.query = part("query"), .train = part("train"), .database = part("database")};
    check_split(split, items);
    return split;
  } catch (const nlohmann::json::exception& e) {
    throw std::runtime_error(e.what());
  } catch (const std::invalid_argument& e) {  // check_split's
    throw std::runtime_error(e.what());
  }
}

Split read_split(const std::filesystem::path& path, std::string_view protocol, std::int64_t items) {
  // Three parts of at most `items` indices, each of at most 19 digits and a comma.
  constexpr std::size_t kHead = 4096;
  const auto bytes = read_file(path, kHead + 3 * 20 * std::size_t(items));
  try {
    return parse_split({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, protocol,
                       items);
  } catch (const std::runtime_error& e) {
    throw std::runtime_error(path.string() + ": " + e.what() +
                             " (delete it to make a new split; old codes won't match it)");
  }
}

}  // namespace hh::data
