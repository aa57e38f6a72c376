// SPDX-License-Identifier: Apache-2.0
#include "retrieval/search/duplicates.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/support/codes.h"
#include "tests/support/temporary_folder.h"

namespace hh::retrieval {
namespace {

Index index_of(const std::filesystem::path& folder, const std::vector<std::uint64_t>& words,
               int bits) {
  ItemSet items;
  const auto count = std::int64_t(words.size());
  items.set.codes.append({words.data(), count, bits});
  for (std::int64_t i = 0; i < count; ++i) items.set.ids.push_back(100 + i);
  build_index(folder, items);
  return Index::open(folder);
}

TEST_CASE("duplicates are joined by steps within the radius", "[duplicates]") {
  const testing::TemporaryFolder folder;
  // 0b0, 0b1, 0b11 are a chain of steps of one bit; 0xff00 comes twice; the last is alone.
  const Index index = index_of(folder / "x", {0, 0xff00, 1, 0xff00, 3, 0xf0f00000}, 32);
  const auto all = [&](int radius, const std::vector<std::string>& filters = {}) {
    std::vector<std::vector<std::int64_t>> rows;
    for (const DuplicateGroup& group :
         find_duplicates(index, index.select(filters), radius, [](auto) { return true; })) {
      rows.push_back(group.rows);
    }
    return rows;
  };
  using Rows = std::vector<std::vector<std::int64_t>>;
  CHECK(all(0) == Rows{{1, 3}});
  CHECK(all(1) == Rows{{0, 2, 4}, {1, 3}});
  CHECK(all(1, {"id!=102"}) == Rows{{1, 3}});  // the middle of the chain is left out
  CHECK(all(2, {"id!=102"}) == Rows{{0, 4}, {1, 3}});
  CHECK(all(32).size() == 1);
  CHECK(find_duplicates(index, index.select({}), 1, [](auto) { return true; })[0].distances ==
        std::vector<int>{0, 1, 2});
  CHECK_THROWS_AS(find_duplicates(index, index.select({}), 33, [](auto) { return true; }),
                  std::invalid_argument);
  // Stopped before the first.
  CHECK(find_duplicates(index, index.select({}), 32, [](auto) { return false; }).empty());
}

TEST_CASE("duplicates are those that every pair compared gives", "[duplicates]") {
  const testing::TemporaryFolder folder;
  constexpr int kCount = 3000, kBits = 64;
  const auto words = testing::codes(kCount, kBits, 5, 40);
  const Index index = index_of(folder / "x", words, kBits);
  for (const int radius : {0, 6, 10}) {
    // Sets by repeated minimum, until nothing changes.
    std::vector<int> first(kCount);
    for (int i = 0; i < kCount; ++i) first[std::size_t(i)] = i;
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t i = 0; i < kCount; ++i) {
        for (std::size_t j = 0; j < i; ++j) {
          if (first[i] == first[j] || std::popcount(words[i] ^ words[j]) > radius) continue;
          first[i] = first[j] = std::min(first[i], first[j]);
          changed = true;
        }
      }
    }
    std::int64_t grouped = 0, wanted = 0;
    for (const DuplicateGroup& group :
         find_duplicates(index, index.select({}), radius, [](auto) { return true; })) {
      grouped += std::int64_t(group.rows.size());
      for (const std::int64_t row : group.rows) {
        REQUIRE(first[std::size_t(row)] == group.rows[0]);
      }
    }
    for (int i = 0; i < kCount; ++i) {
      wanted += std::count(first.begin(), first.end(), first[std::size_t(i)]) > 1 ? 1 : 0;
    }
    CHECK(grouped == wanted);
  }
}

}  // namespace
}  // namespace hh::retrieval
