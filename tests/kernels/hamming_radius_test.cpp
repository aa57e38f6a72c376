// SPDX-License-Identifier: Apache-2.0
#include "kernels/hamming/hamming_radius.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "kernels/core/parallel.h"
#include "tests/support/allocations.h"
#include "tests/support/codes.h"
#include "tests/support/device.h"

namespace hh {
namespace {

using testing::Array;

struct Case {
  std::int64_t queries, rows;
  int bits;
  bool masked;
};

/// Against the definition, with one and three threads.
void check(Device device, const Case& c, std::initializer_list<int> radii,
           std::initializer_list<std::int64_t> capacities) {
  const auto codes = testing::codes(c.queries, c.bits, 1, 3),
             database = testing::codes(c.rows, c.bits, 2, 3);
  const auto mask = testing::row_mask(c.rows, c.masked ? 2 : 1, 3);
  const Array code_array(device, codes), database_array(device, database), mask_array(device, mask);
  const std::int64_t words = (c.bits + 63) / 64;
  for (const int radius : radii) {
    for (const std::int64_t capacity : capacities) {
      for (const int threads : {1, 3}) {
        CAPTURE(device, c.bits, c.rows, c.queries, c.masked, radius, capacity, threads);
        const auto size = std::size_t(c.queries * capacity);
        const Array counts(device, std::vector<std::int64_t>(std::size_t(c.queries), -7));
        const Array found(device, std::vector<std::int64_t>(size, -7));
        const Array distances(device, std::vector<std::int32_t>(size, -7));
        cpu::set_num_threads(threads);
        testing::run(device, HammingRadius{.queries = code_array.data(),
                                           .database = database_array.data(),
                                           .allowed = c.masked ? mask_array.data() : nullptr,
                                           .counts = counts.data(),
                                           .rows = found.data(),
                                           .distances = distances.data(),
                                           .query_count = c.queries,
                                           .row_count = c.rows,
                                           .capacity = capacity,
                                           .bits = c.bits,
                                           .radius = radius});
        cpu::set_num_threads(0);
        // What isn't written keeps its -7.
        std::vector<std::int64_t> want_counts(std::size_t(c.queries), 0), want(size, -7);
        std::vector<std::int32_t> want_distances(size, -7);
        for (std::int64_t q = 0; q < c.queries; ++q) {
          for (std::int64_t r = 0; r < c.rows; ++r) {
            const int d = testing::distance(&codes[std::size_t(q * words)],
                                            &database[std::size_t(r * words)], int(words));
            if (d > radius || (c.masked && !(mask[std::size_t(r / 64)] >> (r % 64) & 1))) continue;
            const std::int64_t place = want_counts[std::size_t(q)]++;
            if (place >= capacity) continue;
            want[std::size_t(q * capacity + place)] = r;
            want_distances[std::size_t(q * capacity + place)] = d;
          }
        }
        REQUIRE(counts.host() == want_counts);
        REQUIRE(found.host() == want);
        REQUIRE(distances.host() == want_distances);
      }
    }
  }
}

TEST_CASE("hamming_radius agrees with its definition", "[hamming]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const int bits = GENERATE(8, 63, 64, 128, 256, 512);
  const std::int64_t rows = GENERATE(0, 1, 64, 65, 300);
  const std::int64_t queries = GENERATE(0, 1, 40);
  const bool masked = GENERATE(false, true);
  check(device, {.queries = queries, .rows = rows, .bits = bits, .masked = masked},
        {0, 2, bits / 4, bits, bits + 5}, {0, 5, 300});
}

// So many that a GPU cuts them into chunks, some of which have none, or none that still fit.
TEST_CASE("hamming_radius finds its rows among many", "[hamming]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const int bits = GENERATE(64, 192);
  const std::int64_t queries = GENERATE(1, 6);
  check(device, {.queries = queries, .rows = 33 * 1024 + 17, .bits = bits, .masked = true},
        {1, bits / 4, bits}, {0, 10, 9000});
}

TEST_CASE("hamming_radius gives one answer for any number of threads", "[hamming]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const std::int64_t queries = 40, rows = device == kCpu ? 80'000 : 2000, capacity = 100;
  const Array codes(device, testing::codes(queries, 64, 1, 50));
  const Array database(device, testing::codes(rows, 64, 2, 50));
  std::vector<std::int64_t> first_counts, first_rows;
  for (const int threads : {1, 2, 3}) {
    const Array counts(device, std::vector<std::int64_t>(std::size_t(queries), -7));
    const Array found(device, std::vector<std::int64_t>(std::size_t(queries * capacity), -7));
    const Array distances(device, std::vector<std::int32_t>(std::size_t(queries * capacity), -7));
    cpu::set_num_threads(threads);
    testing::run(device, HammingRadius{.queries = codes.data(),
                                       .database = database.data(),
                                       .counts = counts.data(),
                                       .rows = found.data(),
                                       .distances = distances.data(),
                                       .query_count = queries,
                                       .row_count = rows,
                                       .capacity = capacity,
                                       .bits = 64,
                                       .radius = 6});
    cpu::set_num_threads(0);
    if (threads == 1) {
      first_counts = counts.host();
      first_rows = found.host();
      REQUIRE(*std::max_element(first_counts.begin(), first_counts.end()) > 0);
    }
    REQUIRE(counts.host() == first_counts);
    REQUIRE(found.host() == first_rows);
  }
}

TEST_CASE("hamming_radius takes no memory but its workspace", "[hamming]") {
  const std::int64_t queries = 40, rows = 80'000;
  const auto query = testing::codes(queries, 64, 1, 50), database = testing::codes(rows, 64, 2, 50);
  std::vector<std::int64_t> counts(std::size_t(queries), 0);
  cpu::set_num_threads(2);
  CHECK(testing::allocations_of(HammingRadius{.queries = query.data(),
                                              .database = database.data(),
                                              .counts = counts.data(),
                                              .query_count = queries,
                                              .row_count = rows,
                                              .bits = 64,
                                              .radius = 6}) == 0);
  cpu::set_num_threads(0);
}

TEST_CASE("hamming_radius names what it refuses", "[hamming]") {
  REQUIRE_THROWS_WITH(cpu::run(HammingRadius{.query_count = 1, .bits = 0}),
                      Catch::Contains("bits = 0"));
  REQUIRE_THROWS_WITH(cpu::run(HammingRadius{.query_count = 1, .bits = 8, .radius = -1}),
                      Catch::Contains("radius = -1"));
  REQUIRE_THROWS_WITH(cpu::run(HammingRadius{.query_count = 1, .capacity = -2, .bits = 8}),
                      Catch::Contains("capacity = -2"));
  REQUIRE_THROWS_WITH(cpu::run(HammingRadius{.query_count = 1, .bits = 8}),
                      Catch::Contains("null"));
}

}  // namespace
}  // namespace hh
