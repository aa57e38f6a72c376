// SPDX-License-Identifier: Apache-2.0
#include "kernels/hamming/hamming_topk.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <optional>
#include <utility>

#include "kernels/core/parallel.h"
#include "kernels/hamming/scan.h"
#include "kernels/hamming/topk_cut.h"
#include "tests/support/allocations.h"
#include "tests/support/codes.h"
#include "tests/support/device.h"

namespace hh {
namespace {

using testing::Array;

struct Case {
  std::vector<std::uint64_t> queries, database, allowed;  // allowed may be empty: all rows
  std::int64_t query_count, rows, k;
  int bits;
};

using Result = std::pair<std::vector<std::int64_t>, std::vector<std::int32_t>>;

/// The first of all rows, sorted.
Result by_definition(const Case& c) {
  const int words = (c.bits + 63) / 64;
  Result result;
  for (std::int64_t q = 0; q < c.query_count; ++q) {
    std::vector<std::pair<int, std::int64_t>> all;
    for (std::int64_t r = 0; r < c.rows; ++r) {
      if (!c.allowed.empty() && !(c.allowed[std::size_t(r / 64)] >> (r % 64) & 1)) continue;
      all.emplace_back(testing::distance(&c.queries[std::size_t(q * words)],
                                         &c.database[std::size_t(r * words)], words),
                       r);
    }
    const auto found = std::ptrdiff_t(std::min(all.size(), std::size_t(c.k)));
    std::partial_sort(all.begin(), all.begin() + found, all.end());
    all.resize(std::size_t(c.k), {-1, -1});
    for (const auto& [distance, row] : all) {
      result.first.push_back(row);
      result.second.push_back(distance);
    }
  }
  return result;
}

Result run(Device device, const Case& c) {
  const std::size_t n = std::size_t(c.query_count * c.k);
  const Array queries(device, c.queries), database(device, c.database), allowed(device, c.allowed);
  const Array rows(device, std::vector<std::int64_t>(n, -7));
  const Array distances(device, std::vector<std::int32_t>(n, -7));
  testing::run(device, HammingTopk{.queries = queries.data(),
                                   .database = database.data(),
                                   .allowed = c.allowed.empty() ? nullptr : allowed.data(),
                                   .rows = rows.data(),
                                   .distances = distances.data(),
                                   .query_count = c.query_count,
                                   .row_count = c.rows,
                                   .k = c.k,
                                   .bits = c.bits});
  return {rows.host(), distances.host()};
}

void check(Device device, const Case& c) {
  CAPTURE(device, c.query_count, c.rows, c.k, c.bits, c.allowed.empty());
  const auto [rows, distances] = run(device, c);
  const auto [want_rows, want_distances] = by_definition(c);
  REQUIRE(distances == want_distances);
  REQUIRE(rows == want_rows);
}

TEST_CASE("hamming_topk agrees with its definition", "[hamming]") {
  const Device device = GENERATE(from_range(testing::devices()));
  // Widths on both sides of a word and of the byte sums' limit; every number of words.
  const int bits = GENERATE(8, 16, 24, 63, 64, 65, 128, 192, 248, 256, 264, 320, 448, 512);
  const std::int64_t rows = GENERATE(0, 1, 63, 64, 65, 200);
  const std::int64_t k = GENERATE(1, 10, 64, 201);
  const int centres = GENERATE(0, 3);
  for (const std::int64_t queries : {1, 3, 40}) {  // 40: nibbles, where the machine prefers them
    check(device, {.queries = testing::codes(queries, bits, 1, centres),
                   .database = testing::codes(rows, bits, 2, centres),
                   .query_count = queries,
                   .rows = rows,
                   .k = k,
                   .bits = bits});
  }
}

// Rows are judged by their first bits where those tell: here of random rows; of none, as all agree
// there; of some, as the rows that agree come in the middle.
TEST_CASE("hamming_topk goes by all bits where the first ones don't tell", "[hamming]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const int bits = GENERATE(64, 128, 192, 256, 320, 384, 448, 500, 512);
  const std::int64_t rows = 5017, words = (bits + 63) / 64;
  const auto [from, to] = GENERATE(std::pair(0, 0), std::pair(0, 5017), std::pair(2500, 2900));
  auto database = testing::codes(rows, bits, 2, 20);
  for (std::int64_t r = from; r < to; ++r) {
    std::fill_n(database.begin() + r * words, (words + 1) / 2, 0);
  }
  for (const std::int64_t queries : {1, 2, 3, 40}) {
    auto query_codes = testing::codes(queries, bits, 1, 20);
    for (std::int64_t q = 0; q < queries && to > 0; ++q) {
      std::fill_n(query_codes.begin() + q * words, (words + 1) / 2, 0);
    }
    check(device, {.queries = query_codes,
                   .database = database,
                   .query_count = queries,
                   .rows = rows,
                   .k = 10,
                   .bits = bits});
  }
}

TEST_CASE("hamming_topk returns allowed rows only", "[hamming]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const std::int64_t rows = GENERATE(64, 100, 1000);
  const std::uint32_t one_in = GENERATE(1u, 2u, 50u, 1u << 31);
  for (const std::int64_t queries : {2, 40}) {
    check(device, {.queries = testing::codes(queries, 64, 1, 4),
                   .database = testing::codes(rows, 64, 2, 4),
                   .allowed = testing::row_mask(rows, one_in, 3),
                   .query_count = queries,
                   .rows = rows,
                   .k = 7,
                   .bits = 64});
  }
}

// A GPU takes 64 and more queries of up to 64 bits to its tensor cores, 64 at once.
TEST_CASE("hamming_topk of many queries agrees with its definition", "[hamming]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const int bits = GENERATE(8, 63, 64);
  const std::int64_t rows = GENERATE(1, 33, 1025, 17'000);  // the last has a sample
  const std::uint32_t one_in = GENERATE(0u, 3u);            // 0: all rows are allowed
  for (const std::int64_t queries : {63, 64, 65, 130}) {
    if (rows > 2000 && queries != 65) continue;
    check(device, {.queries = testing::codes(queries, bits, 1, 20),
                   .database = testing::codes(rows, bits, 2, 20),
                   .allowed = one_in == 0 ? std::vector<std::uint64_t>{}
                                          : testing::row_mask(rows, one_in, 3),
                   .query_count = queries,
                   .rows = rows,
                   .k = 20,
                   .bits = bits});
  }
}

TEST_CASE("hamming_topk breaks ties by row among duplicates", "[hamming]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const int bits = GENERATE(16, 256);
  const std::int64_t rows = 700, words = (bits + 63) / 64;
  auto database = testing::codes(rows, bits, 2);
  for (std::int64_t r = 5; r < rows; ++r) {  // five different codes
    for (std::int64_t w = 0; w < words; ++w) {
      database[std::size_t(r * words + w)] = database[std::size_t(r % 5 * words + w)];
    }
  }
  for (const std::int64_t k : {1, 139, 140, 141, 300, 700}) {
    check(device, {.queries = testing::codes(2, bits, 1),
                   .database = database,
                   .query_count = 2,
                   .rows = rows,
                   .k = k,
                   .bits = bits});
  }
}

// Descending distances: each row is nearer than all before it, so every row is a candidate, and the
// candidates kept so far are thinned again and again. The farthest one is at all 512 bits.
TEST_CASE("hamming_topk survives rows that keep getting nearer", "[hamming]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const int bits = GENERATE(64, 512);
  const std::int64_t rows = 3000, words = bits / 64;
  std::vector<std::uint64_t> database(std::size_t(rows * words));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t j = 0; j < bits - r * bits / rows; ++j) {
      database[std::size_t(r * words + j / 64)] |= std::uint64_t{1} << (j % 64);
    }
  }
  for (const std::int64_t queries : {1, 40}) {
    check(device, {.queries = std::vector<std::uint64_t>(std::size_t(queries * words)),
                   .database = database,
                   .query_count = queries,
                   .rows = rows,
                   .k = 50,
                   .bits = bits});
  }
}

// Enough rows for the GPU to bound the distances by a sample first: of rows in clusters, of rows
// that are all alike, and where hardly one of the sample is allowed.
TEST_CASE("hamming_topk finds its rows among many", "[hamming]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const int bits = GENERATE(16, 64, 128, 200, 512);
  const std::int64_t rows = 40'000, words = (bits + 63) / 64;
  const std::vector<std::uint64_t> database = testing::codes(rows, bits, 2, 50);
  std::vector<std::uint64_t> alike = database;
  for (std::size_t i = 0; i < alike.size(); ++i) alike[i] = alike[i % std::size_t(words)];
  for (const std::int64_t queries : {1, 9}) {
    for (const std::uint32_t one_in : {1u, 500u}) {
      for (const auto& of : {database, alike}) {
        check(device, {.queries = testing::codes(queries, bits, 1, 50),
                       .database = of,
                       .allowed = testing::row_mask(rows, one_in, 3),
                       .query_count = queries,
                       .rows = rows,
                       .k = 100,
                       .bits = bits});
      }
    }
  }
}

TEST_CASE("hamming_topk reads several streams as it reads one", "[hamming]") {
  struct Always {
    Always() { cpu::use_streams(true); }
    ~Always() { cpu::use_streams(std::nullopt); }
  };
  const Always always;
  const int bits = GENERATE(16, 64, 128, 200, 256, 320, 448, 512);
  // Two times all streams and a part of a block, in rows of any length.
  const std::int64_t words = (bits + 63) / 64, rows = 2 * cpu::stream_rows(int(words)) + 20'011;
  std::vector<std::uint64_t> database = testing::codes(rows, bits, 2, 50);
  for (const bool alike : {false, true}) {
    for (const std::uint32_t one_in : {1u, 500u}) {
      check(kCpu, {.queries = testing::codes(1, bits, 1, 50),
                   .database = database,
                   .allowed = testing::row_mask(rows, one_in, 3),
                   .query_count = 1,
                   .rows = rows,
                   .k = 100,
                   .bits = bits});
    }
    if (!alike) {
      for (std::size_t i = 0; i < database.size(); ++i) {
        database[i] = database[i % std::size_t(words)];
      }
    }
  }
}

// Rounds of a few queries must have as many more chunks: at a thousand queries of a billion rows a
// round holds a hundred.
TEST_CASE("hamming_topk cuts its work so that each round fills a GPU", "[hamming]") {
  const std::int64_t rows = GENERATE(std::int64_t{10'000'000}, std::int64_t{100'000'000},
                                     std::int64_t{1'000'000'000}, std::int64_t{10'000'000'000});
  for (const int bits : {64, 128, 512}) {
    for (const std::int64_t queries : {1, 2, 64, 1000, 100'000}) {
      const gpu::TopkCut cut({.query_count = queries, .row_count = rows, .k = 100, .bits = bits});
      CAPTURE(rows, bits, queries, cut.queries, cut.chunks);
      const std::int64_t words = (bits + 63) / 64;
      CHECK(cut.tensor == (words == 1 && queries >= gpu::TopkCut::kTensorQueries));
      const int each = cut.tensor ? gpu::TopkCut::kTensorQueries
                                  : gpu::TopkCut::queries_of_warp(int(words), queries == 1);
      const std::int64_t warps = (cut.queries + each - 1) / each * cut.chunks * cut.warps_of_chunk;
      CHECK(warps >= 4 * 4 * 132 * 9 / 10);  // four for each scheduler of an H100, about
      CHECK(cut.runs_per_chunk * (cut.chunks - 1) < cut.runs);
      CHECK(cut.runs_per_chunk * cut.chunks >= cut.runs);
      // Histogram, counts, marks and limits; a single query's may take more.
      const std::int64_t bytes = 4 * cut.queries * ((bits + 1) * (cut.chunks + 1) + cut.runs + 1);
      CHECK((cut.queries == 1 || bytes <= gpu::TopkCut::bytes_of_round(rows * words * 8)));
    }
  }
  CHECK_THROWS_WITH(gpu::TopkCut({.query_count = 1, .row_count = std::int64_t{1} << 36, .bits = 8}),
                    Catch::Contains("row_count = 68719476736 of at most 34359738368"));
  CHECK_THROWS_WITH(
      gpu::TopkCut({.query_count = 1, .row_count = 1, .k = std::int64_t{1} << 32, .bits = 8}),
      Catch::Contains("k = 4294967296 of at most 4294901760"));
}

TEST_CASE("hamming_topk gives one answer for any number of threads", "[hamming]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const std::int64_t queries = GENERATE(1, 5, 40);
  // For few queries enough words on the CPU that several threads share the rows.
  const bool large = device == kCpu && queries < 40;
  const std::int64_t rows = large ? 270'000 : 3000;
  const int bits = large ? 512 : 32;
  const int centres = large ? 0 : 100;
  const Case c{.queries = testing::codes(queries, bits, 1, centres),
               .database = testing::codes(rows, bits, 2, centres),
               .allowed = testing::row_mask(rows, 3, 3),
               .query_count = queries,
               .rows = rows,
               .k = 100,
               .bits = bits};
  const Result want = by_definition(c);
  for (const int threads : {1, 2, 3}) {
    cpu::set_num_threads(threads);
    const Result got = run(device, c);
    cpu::set_num_threads(0);
    CAPTURE(device, queries, threads);
    REQUIRE(got.second == want.second);
    REQUIRE(got.first == want.first);
  }
}

TEST_CASE("hamming_topk names what it refuses", "[hamming]") {
  REQUIRE_THROWS_WITH(cpu::run(HammingTopk{.query_count = 1, .bits = 513}),
                      Catch::Contains("bits = 513"));
  REQUIRE_THROWS_WITH(cpu::run(HammingTopk{.query_count = 1, .k = 0, .bits = 8}),
                      Catch::Contains("k = 0"));
  REQUIRE_THROWS_WITH(cpu::run(HammingTopk{.query_count = -1, .bits = 8}),
                      Catch::Contains("query_count = -1"));
  REQUIRE_THROWS_WITH(cpu::run(HammingTopk{.row_count = std::int64_t{1} << 48, .bits = 8}),
                      Catch::Contains("row_count = 281474976710656"));
  REQUIRE_THROWS_WITH(cpu::run(HammingTopk{.query_count = 1, .bits = 8}), Catch::Contains("null"));
}

TEST_CASE("hamming_topk takes no memory but its workspace", "[hamming]") {
  cpu::set_num_threads(2);
  // Threads share out the rows of one query, and the queries where there are more.
  for (const std::int64_t queries : {1, 40}) {
    const std::int64_t rows = queries == 1 ? 3 << 20 : 100'000;
    const auto query = testing::codes(queries, 64, 1, 3), database = testing::codes(rows, 64, 2, 3);
    std::vector<std::int64_t> found(std::size_t(queries * 5));
    std::vector<std::int32_t> distances(found.size());
    CHECK(testing::allocations_of(HammingTopk{.queries = query.data(),
                                              .database = database.data(),
                                              .rows = found.data(),
                                              .distances = distances.data(),
                                              .query_count = queries,
                                              .row_count = rows,
                                              .k = 5,
                                              .bits = 64}) == 0);
  }
  cpu::set_num_threads(0);
}

TEST_CASE("hamming_topk refuses more rows than a GPU counts", "[hamming]") {
  for (const Device device : testing::devices()) {
    if (device == kCpu) continue;
    std::uint64_t code = 0;
    std::int64_t row = 0;
    std::int32_t distance = 0;
    const HammingTopk args{.queries = &code,
                           .database = &code,
                           .rows = &row,
                           .distances = &distance,
                           .query_count = 1,
                           .row_count = (std::int64_t{1} << 35) + 1,
                           .bits = 8};
    const auto& kernel = backend(device).kernels().of<HammingTopk>();
    const auto refused = Catch::Contains("row_count = 34359738369 of at most 34359738368");
    REQUIRE_THROWS_WITH(kernel.workspace_bytes(args), refused);
    REQUIRE_THROWS_WITH(kernel.run(args, backend(device).stream()), refused);
  }
}

}  // namespace
}  // namespace hh
