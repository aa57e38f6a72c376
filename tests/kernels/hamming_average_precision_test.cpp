// SPDX-License-Identifier: Apache-2.0
#include "kernels/hamming/hamming_average_precision.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <utility>

#include "kernels/core/parallel.h"
#include "tests/support/codes.h"
#include "tests/support/device.h"

namespace hh {
namespace {

using testing::Array;

struct Result {
  std::vector<double> ap;
  std::vector<std::int64_t> hits;
  std::vector<std::uint32_t> retrieved, relevant;
  std::vector<std::uint64_t> ranking;
};

struct Case {
  std::vector<std::uint64_t> queries, query_labels, database, row_labels;
  std::int64_t query_count, rows, cut, depth;
  int bits, label_words;
};

/// By sorting, as the reference does.
Result by_definition(const Case& c) {
  const int words = (c.bits + 63) / 64;
  const auto shown = std::size_t(c.depth + 63) / 64;
  Result result;
  for (std::int64_t q = 0; q < c.query_count; ++q) {
    std::vector<std::pair<int, std::int64_t>> order;
    std::vector<std::uint32_t> retrieved(std::size_t(c.bits) + 1), relevant(retrieved.size());
    const auto similar = [&](std::int64_t r) {
      bool any = false;
      for (std::int64_t l = 0; l < c.label_words; ++l) {
        any |= (c.query_labels[std::size_t(q * c.label_words + l)] &
                c.row_labels[std::size_t(r * c.label_words + l)]) != 0;
      }
      return any;
    };
    for (std::int64_t r = 0; r < c.rows; ++r) {
      const int d = testing::distance(&c.queries[std::size_t(q * words)],
                                      &c.database[std::size_t(r * words)], words);
      order.emplace_back(d, r);
      ++retrieved[std::size_t(d)];
      relevant[std::size_t(d)] += similar(r);
    }
    std::sort(order.begin(), order.end());
    std::vector<std::uint64_t> ranking(shown);
    double sum = 0;
    std::int64_t hits = 0;
    for (std::int64_t t = 0; t < c.rows; ++t) {
      if (!similar(order[std::size_t(t)].second)) continue;
      if (t < c.cut) sum += double(++hits) / double(t + 1);
      if (t < c.depth) ranking[std::size_t(t / 64)] |= std::uint64_t{1} << (t % 64);
    }
    result.ap.push_back(hits == 0 ? 0 : sum / double(hits));
    result.hits.push_back(hits);
    result.retrieved.insert(result.retrieved.end(), retrieved.begin(), retrieved.end());
    result.relevant.insert(result.relevant.end(), relevant.begin(), relevant.end());
    result.ranking.insert(result.ranking.end(), ranking.begin(), ranking.end());
  }
  return result;
}

Result run(Device device, const Case& c) {
  const auto q = std::size_t(c.query_count), counts = q * (std::size_t(c.bits) + 1);
  const Array queries(device, c.queries), query_labels(device, c.query_labels),
      database(device, c.database), row_labels(device, c.row_labels);
  const Array ap(device, std::vector<double>(q, NAN));
  const Array hits(device, std::vector<std::int64_t>(q, -7));
  const Array retrieved(device, std::vector<std::uint32_t>(counts, 7777));
  const Array relevant(device, std::vector<std::uint32_t>(counts, 7777));
  const Array ranking(device, std::vector<std::uint64_t>(q * (std::size_t(c.depth + 63) / 64), 7));
  testing::run(device, HammingAveragePrecision{.queries = queries.data(),
                                               .query_labels = query_labels.data(),
                                               .database = database.data(),
                                               .row_labels = row_labels.data(),
                                               .ap = ap.data(),
                                               .hits = hits.data(),
                                               .retrieved = retrieved.data(),
                                               .relevant = relevant.data(),
                                               .ranking = c.depth == 0 ? nullptr : ranking.data(),
                                               .query_count = c.query_count,
                                               .row_count = c.rows,
                                               .cut = c.cut,
                                               .depth = c.depth,
                                               .bits = c.bits,
                                               .label_words = c.label_words});
  return {ap.host(), hits.host(), retrieved.host(), relevant.host(), ranking.host()};
}

void check(Device device, const Case& c) {
  CAPTURE(device, c.query_count, c.rows, c.cut, c.depth, c.bits, c.label_words);
  const Result got = run(device, c), want = by_definition(c);
  REQUIRE(got.hits == want.hits);
  REQUIRE(got.retrieved == want.retrieved);
  REQUIRE(got.relevant == want.relevant);
  REQUIRE(got.ranking == want.ranking);
  // A sum of n terms in any order errs by at most n units of itself; all terms are positive.
  for (std::size_t q = 0; q < want.ap.size(); ++q) {
    CAPTURE(q);
    REQUIRE(std::abs(got.ap[q] - want.ap[q]) <= double(c.rows + 2) * 0x1p-53 * want.ap[q]);
  }
}

TEST_CASE("hamming_average_precision agrees with its definition", "[hamming]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const int bits = GENERATE(8, 16, 63, 64, 128, 192, 256, 320, 384, 448, 512);
  const std::int64_t rows = GENERATE(1, 63, 64, 65, 333);
  const int label_words = GENERATE(1, 2, 3);
  for (const std::int64_t queries : {0, 1, 5}) {
    Case c{.queries = testing::codes(queries, bits, 1, 3),
           .query_labels = testing::codes(queries, 64 * label_words, 3, 4),
           .database = testing::codes(rows, bits, 2, 3),
           .row_labels = testing::codes(rows, 64 * label_words, 4, 4),
           .query_count = queries,
           .rows = rows,
           .bits = bits,
           .label_words = label_words};
    // A few classes each, so that neither all nor no items are similar.
    for (auto* labels : {&c.query_labels, &c.row_labels}) {
      for (auto& word : *labels) word &= 0x0000001100010008u;
    }
    for (const std::int64_t cut : {std::int64_t{1}, (rows + 1) / 2, rows}) {
      for (const std::int64_t depth : {std::int64_t{0}, (rows + 2) / 3, rows}) {
        c.cut = cut;
        c.depth = depth;
        check(device, c);
      }
    }
  }
}

TEST_CASE("hamming_average_precision of nothing and everything relevant", "[hamming]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const std::uint64_t label = GENERATE(0u, 1u);
  const Case c{.queries = testing::codes(2, 64, 1),
               .query_labels = {1, 1},
               .database = testing::codes(100, 64, 2),
               .row_labels = std::vector<std::uint64_t>(100, label),
               .query_count = 2,
               .rows = 100,
               .cut = 70,
               .depth = 100,
               .bits = 64,
               .label_words = 1};
  check(device, c);
  REQUIRE(run(device, c).ap == std::vector<double>(2, double(label)));
}

TEST_CASE("hamming_average_precision gives the same bits for any number of threads", "[hamming]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const std::int64_t queries = 9, rows = device == kCpu ? 90'000 : 2000;  // worth three threads
  Case c{.queries = testing::codes(queries, 48, 1, 10),
         .query_labels = testing::codes(queries, 10, 3, 10),
         .database = testing::codes(rows, 48, 2, 10),
         .row_labels = testing::codes(rows, 10, 4, 10),
         .query_count = queries,
         .rows = rows,
         .cut = 1000,
         .depth = 200,
         .bits = 48,
         .label_words = 1};
  check(device, c);
  cpu::set_num_threads(1);
  const Result one = run(device, c);
  cpu::set_num_threads(3);
  const Result three = run(device, c);
  cpu::set_num_threads(0);
  REQUIRE(one.ap == three.ap);
}

TEST_CASE("hamming_average_precision names what it refuses", "[hamming]") {
  HammingAveragePrecision p{.query_count = 1, .row_count = 5, .cut = 6, .bits = 8};
  REQUIRE_THROWS_WITH(cpu::run(p), Catch::Contains("cut = 6 of 5 rows"));
  p.cut = 5;
  REQUIRE_THROWS_WITH(cpu::run(p), Catch::Contains("null"));
  p.depth = 9;
  REQUIRE_THROWS_WITH(cpu::run(p), Catch::Contains("depth = 9 of 5 rows"));
  p.row_count = 0;
  REQUIRE_THROWS_WITH(cpu::run(p), Catch::Contains("row_count = 0"));
}

}  // namespace
}  // namespace hh
