// SPDX-License-Identifier: Apache-2.0
// The choice between scan and multi-index hashing: what it weighs, and that no answer depends on
// it.
#include "retrieval/search/choice.h"

#include <catch2/catch.hpp>
#include <numeric>

#include "kernels/core/philox.h"
#include "retrieval/search/hamming_scan.h"
#include "retrieval/search/multi_index.h"
#include "retrieval/search/multi_index_tail.h"
#include "tests/support/codes.h"

namespace hh::retrieval {
namespace {

PackedCodes some_codes(std::int64_t count, int bits, std::uint64_t seed, int centres) {
  const auto words = testing::codes(count, bits, seed, centres);
  PackedCodes codes(0, bits);
  codes.append({words.data(), count, bits});
  return codes;
}

constexpr std::size_t kPlenty = std::size_t{1} << 40;

TEST_CASE("many near queries pay for tables, few or far ones don't", "[search][choice]") {
  const ChoiceCosts costs{.scan_code = 0.2, .build_code = 20, .probe = 20, .bucket_code = 0.5};
  const std::int32_t near[] = {2, 3, 4}, far[] = {20, 30};
  const auto chosen = [&](std::int64_t queries, std::span<const std::int32_t> reach) {
    return estimate_search(costs, 10'000'000, 64, queries, reach).multi_index;
  };
  REQUIRE(chosen(100'000, near));
  REQUIRE(!chosen(10, near));
  REQUIRE(!chosen(100'000, far));
  const SearchEstimate one = estimate_search(costs, 10'000'000, 64, 1000, near);
  const SearchEstimate two = estimate_search(costs, 10'000'000, 64, 2000, near);
  REQUIRE(two.scan == Approx(2 * one.scan));
  REQUIRE(two.lookups == Approx(2 * one.lookups));
  REQUIRE(two.build == Approx(one.build));
}

TEST_CASE("the choice measures only where that is worth it", "[search][choice]") {
  const PackedCodes database = some_codes(20'000, 64, 1, 50), queries = some_codes(6000, 64, 2, 50);
  const CodesView few = queries.view().slice(0, 10);
  REQUIRE(!choose_for_topk(database, few, 10, nullptr, kPlenty).measured);
  REQUIRE(!choose_for_topk(database, queries, 10, nullptr, 1000).measured);
  REQUIRE(!choose_for_topk(PackedCodes(0, 64), queries, 10, nullptr, kPlenty).measured);
  for (const SearchEstimate& e : {choose_for_topk(database, queries, 10, nullptr, kPlenty),
                                  choose_for_radius(database, queries, 3, kPlenty)}) {
    REQUIRE(e.measured);
    REQUIRE(e.scan > 0);
    REQUIRE(e.build > 0);
    REQUIRE((!e.multi_index || e.build + e.lookups < e.scan));
  }
  REQUIRE_THROWS_WITH(choose_for_topk(database, PackedCodes(1, 32), 1, nullptr, kPlenty),
                      Catch::Contains("32 bits"));
  REQUIRE(!choose_for_service(database, 10, kPlenty).measured);
  const PackedCodes larger = some_codes(400'000, 64, 3, 0);
  REQUIRE(choose_for_service(larger, 10, kPlenty).measured);
  REQUIRE(!choose_for_service(larger, 10, 1000).measured);
}

TEST_CASE("tables of the first rows and a scan of the others are one search", "[search][choice]") {
  const std::uint64_t seed = GENERATE(range(0, 30));
  const Philox random(seed, RandomPurpose::kTest, 4);
  const int bits = 8 * int(1 + random.below(0, seed % 3 == 0 ? 40 : 8));
  const std::int64_t rows = random.below(1, 900), head = random.below(2, std::uint32_t(rows) + 1);
  const std::int64_t k = 1 + random.below(3, seed % 4 == 0 ? 1200 : 20);
  const PackedCodes database = some_codes(rows, bits, 2 * seed, int(random.below(4, 12)));
  const PackedCodes queries = some_codes(9, bits, 2 * seed + 1, int(random.below(4, 12)));
  RowMask mask(rows, false);
  for (std::int64_t r = 0; r < rows; ++r) mask.set(r, random.below(50 + std::uint64_t(r), 3) > 0);
  const RowMask* allowed = seed % 2 == 0 ? &mask : nullptr;
  const int radius = int(random.below(5, std::uint32_t(bits) / 2));
  CAPTURE(seed, bits, rows, head, k, radius);
  const MultiIndex tables(database.view().slice(0, head));
  REQUIRE(tables.count() == head);
  const HammingScan scan(database);
  const TopkResult want = scan.topk(queries, k, allowed);
  const TopkResult got = topk_with_tail(tables, database, queries, k, allowed);
  REQUIRE(got.rows == want.rows);
  REQUIRE(got.distances == want.distances);
  const RadiusResult all = scan.radius(queries, radius, allowed);
  const RadiusResult within = radius_with_tail(tables, database, queries, radius, allowed);
  REQUIRE(within.offsets == all.offsets);
  REQUIRE(within.rows == all.rows);
  REQUIRE(within.distances == all.distances);
}

}  // namespace
}  // namespace hh::retrieval
