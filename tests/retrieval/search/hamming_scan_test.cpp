// SPDX-License-Identifier: Apache-2.0
// The searches against a plain one, and against each other.
#include "retrieval/search/hamming_scan.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <utility>

#include "kernels/core/parallel.h"
#include "kernels/core/philox.h"
#include "retrieval/search/multi_index.h"
#include "tests/support/codes.h"
#include "tests/support/device.h"

namespace hh::retrieval {
namespace {

PackedCodes random_codes(std::int64_t count, int bits, std::uint64_t seed, int centres) {
  const auto words = testing::codes(count, bits, seed, centres);
  PackedCodes codes;
  codes.append({words.data(), count, bits});
  if (count == 0) codes = PackedCodes(0, bits);
  return codes;
}

using Pairs = std::vector<std::pair<int, std::int64_t>>;

Pairs pairs(std::span<const std::int32_t> distances, std::span<const std::int64_t> rows) {
  Pairs pairs;
  for (std::size_t i = 0; i < rows.size(); ++i) pairs.emplace_back(distances[i], rows[i]);
  return pairs;
}

/// Allowed rows by distance and row.
Pairs ranked(CodesView database, std::span<const std::uint64_t> query, const RowMask* allowed) {
  Pairs all;
  for (std::int64_t r = 0; r < database.count; ++r) {
    if (allowed == nullptr || allowed->test(r)) {
      all.emplace_back(hamming_distance(query, database.row(r)), r);
    }
  }
  std::sort(all.begin(), all.end());
  return all;
}

void check_topk(const TopkResult& got, CodesView database, CodesView queries, std::int64_t k,
                const RowMask* allowed) {
  REQUIRE(got.queries == queries.count);
  REQUIRE(got.k == k);
  for (std::int64_t q = 0; q < queries.count; ++q) {
    auto want = ranked(database, queries.row(q), allowed);
    want.resize(std::size_t(k), {-1, -1});
    CAPTURE(q);
    REQUIRE(pairs(got.distances_of(q), got.rows_of(q)) == want);
  }
}

void check_radius(const RadiusResult& got, CodesView database, CodesView queries, int radius,
                  const RowMask* allowed) {
  REQUIRE(got.queries() == queries.count);
  for (std::int64_t q = 0; q < queries.count; ++q) {
    auto want = ranked(database, queries.row(q), allowed);
    std::erase_if(want, [&](const auto& entry) { return entry.first > radius; });
    CAPTURE(q);
    REQUIRE(pairs(got.distances_of(q), got.rows_of(q)) == want);
  }
}

TEST_CASE("scan and multi-index give the plain search's answers", "[search]") {
  // Sizes, widths, ties and masks by chance; a seed names its case.
  const std::uint64_t seed = GENERATE(range(0, 60));
  const Philox random(seed, RandomPurpose::kTest, 3);
  const int bits = 8 * int(1 + random.below(0, seed % 3 == 0 ? 64 : 8));
  const std::int64_t rows = random.below(1, 1500);
  const std::int64_t queries = 1 + random.below(2, 40);
  const int centres = random.below(3, 2) == 0 ? 0 : int(1 + random.below(4, 20));
  const std::int64_t k = 1 + random.below(5, seed % 4 == 0 ? 2000 : 20);
  const PackedCodes database = random_codes(rows, bits, 2 * seed, centres);
  const PackedCodes query = random_codes(queries, bits, 2 * seed + 1, centres);
  RowMask mask(rows, false);
  for (std::int64_t r = 0; r < rows; ++r) mask.set(r, random.below(100 + std::uint64_t(r), 3) == 0);
  const RowMask* allowed = random.below(6, 2) == 0 ? &mask : nullptr;
  const int radius = int(random.below(7, std::uint32_t(bits) / 2));
  CAPTURE(seed, bits, rows, queries, centres, k, allowed != nullptr, radius);

  const HammingScan scan(database);
  check_topk(scan.topk(query, k, allowed), database, query, k, allowed);
  check_radius(scan.radius(query, radius, allowed), database, query, radius, allowed);
  const int least = (bits + 27) / 28;
  const MultiIndex index(database,
                         {.substrings = seed % 2 == 0 ? 0 : least + int(random.below(8, 4))});
  check_topk(index.topk(query, k, allowed), database, query, k, allowed);
  check_radius(index.radius(query, radius, allowed), database, query, radius, allowed);
}

TEST_CASE("multi-index finds near codes without a scan", "[search]") {
  const int bits = GENERATE(32, 64, 128, 200);
  // Fifty copies of each centre with few bits flipped: what the tables are for.
  const std::int64_t rows = 20'000;
  PackedCodes database = random_codes(rows, bits, 1, 0);
  const Philox random(5, RandomPurpose::kTest);
  for (std::int64_t r = 0; r < rows; ++r) {
    std::ranges::copy(database.view().row(r % 400), database.row(r).begin());
    for (int i = 0; i < 3; ++i) {
      const int j = int(random.below(std::uint64_t(3 * r + i), std::uint32_t(bits)));
      database.set(r, j, !database.view().bit(r, j));
    }
  }
  const PackedCodes query = [&] {
    PackedCodes codes;
    codes.append(database.view().slice(1000, 1040));
    return codes;
  }();
  const MultiIndex index(database);
  MultiIndex::Statistics statistics;
  check_topk(index.topk(query, 10, nullptr, &statistics), database, query, 10, nullptr);
  CAPTURE(bits, index.substrings(), statistics.probes, statistics.codes_seen,
          statistics.queries_scanned, index.costs().scan_code, index.costs().probe,
          index.costs().bucket_code);
  // Looked up or scanned, never neither.
  REQUIRE((statistics.probes > 0 || statistics.queries_scanned == query.count()));
  check_radius(index.radius(query, 4), database, query, 4, nullptr);
  const MultiIndex moved = MultiIndex(database);
  REQUIRE(moved.topk(query, 3).rows == index.topk(query, 3).rows);
  REQUIRE(MultiIndex::memory_bytes(rows, bits) > std::size_t(rows) * std::size_t(bits) / 8);
}

TEST_CASE("a scan on each device gives the same answers, of some rows at a time too",
          "[search][devices]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const int bits = GENERATE(24, 64, 130);
  const std::int64_t rows = GENERATE(0, 1, 64, 1500);
  const PackedCodes database = random_codes(rows, bits, 1, 5), query = random_codes(9, bits, 2, 5);
  RowMask mask(rows, false);
  for (std::int64_t r = 0; r < rows; ++r) mask.set(r, r % 3 != 1);
  for (const std::int64_t most : {HammingScan::kAllRows, std::int64_t{1}, std::int64_t{700}}) {
    const HammingScan scan(database, device, most);
    CAPTURE(device, bits, rows, most);
    const bool turns = device != kCpu && most < rows;
    REQUIRE(scan.rows_at_once() == (turns ? std::max<std::int64_t>(most / 64 * 64, 64) : rows));
    for (const RowMask* allowed : {static_cast<const RowMask*>(nullptr), &std::as_const(mask)}) {
      for (const std::int64_t k : {1, 20, 1600}) {
        check_topk(scan.topk(query, k, allowed), database, query, k, allowed);
      }
      for (const int radius : {0, bits / 4, bits}) {
        check_radius(scan.radius(query, radius, allowed), database, query, radius, allowed);
      }
    }
    REQUIRE(scan.topk(PackedCodes(0, bits), 3).rows.empty());
    REQUIRE(scan.radius(PackedCodes(0, bits), 3).queries() == 0);
  }
}

// On a simulated GPU of 256 MiB: 192 MB of codes, and what a search takes.
TEST_CASE("codes that a GPU has no room for are searched by turns", "[.small_gpu]") {
  for (const Device device : testing::devices()) {
    const PackedCodes database = random_codes(3'000'000, 512, 1, 0);
    const PackedCodes query = random_codes(2, 512, 2, 0);
    const HammingScan scan(database, device), on_cpu(database);
    CHECK((scan.rows_at_once() < database.count()) == (device != kCpu));
    const TopkResult found = scan.topk(query, 100), want = on_cpu.topk(query, 100);
    CHECK(found.rows == want.rows);
    CHECK(found.distances == want.distances);
  }
}

TEST_CASE("flipping the same bits everywhere changes no answer", "[search]") {
  const int bits = GENERATE(64, 136);
  PackedCodes database = random_codes(900, bits, 1, 9), query = random_codes(30, bits, 2, 9);
  const TopkResult before = HammingScan(database).topk(query, 50);
  const TopkResult by_index = MultiIndex(database).topk(query, 50);
  const PackedCodes constant = random_codes(1, bits, 3, 0);
  for (PackedCodes* codes : {&database, &query}) {
    for (std::int64_t i = 0; i < codes->count(); ++i) {
      for (std::size_t w = 0; w < codes->row(i).size(); ++w) {
        codes->row(i)[w] ^= constant.view().row(0)[w];
      }
    }
  }
  REQUIRE(HammingScan(database).topk(query, 50).rows == before.rows);
  REQUIRE(MultiIndex(database).topk(query, 50).rows == by_index.rows);
}

TEST_CASE("a permuted database gives the same distances", "[search]") {
  const PackedCodes database = random_codes(1000, 48, 1, 9), query = random_codes(30, 48, 2, 9);
  PackedCodes permuted;
  std::vector<std::int64_t> old_row;
  for (std::int64_t i = 0; i < 1000; ++i) {
    old_row.push_back(i * 379 % 1000);
    permuted.append(database.view().slice(old_row.back(), old_row.back() + 1));
  }
  const TopkResult a = HammingScan(database).topk(query, 1000);
  TopkResult b = HammingScan(permuted).topk(query, 1000);
  REQUIRE(a.distances == b.distances);
  // The same rows at each distance; within one the order is that of the rows.
  for (std::int64_t& row : b.rows) row = old_row[std::size_t(row)];
  for (std::int64_t q = 0; q < 30; ++q) {
    for (std::size_t i = 0; i < 1000; ++i) {
      const std::int64_t row = b.rows_of(q)[i];
      REQUIRE(hamming_distance(database.view().row(row), query.view().row(q)) ==
              b.distances_of(q)[i]);
    }
    auto rows = std::vector(b.rows_of(q).begin(), b.rows_of(q).end());
    std::sort(rows.begin(), rows.end());
    REQUIRE(std::adjacent_find(rows.begin(), rows.end()) == rows.end());
  }
}

TEST_CASE("searches name what they refuse", "[search]") {
  const PackedCodes database(10, 16), query(1, 24), fitting(1, 16);
  const RowMask mask(11, true);
  const HammingScan scan(database);
  const MultiIndex index(database);
  REQUIRE_THROWS_WITH(scan.topk(query, 1), Catch::Contains("24 bits for a database of 16"));
  REQUIRE_THROWS_WITH(index.topk(query, 1), Catch::Contains("24 bits for a database of 16"));
  REQUIRE_THROWS_WITH(scan.topk(fitting, 0), Catch::Contains("k = 0"));
  REQUIRE_THROWS_WITH(scan.topk(fitting, 1, &mask), Catch::Contains("11 rows"));
  REQUIRE_THROWS_WITH(scan.radius(fitting, -1), Catch::Contains("radius = -1"));
  REQUIRE_THROWS_WITH(index.radius(fitting, -1), Catch::Contains("radius = -1"));
  REQUIRE_THROWS_WITH(MultiIndex(database, {.substrings = 17}), Catch::Contains("17 substrings"));
  REQUIRE(scan.topk(PackedCodes(0, 16), 3).rows.empty());
  REQUIRE(scan.radius(PackedCodes(0, 16), 3).queries() == 0);
}

}  // namespace
}  // namespace hh::retrieval
