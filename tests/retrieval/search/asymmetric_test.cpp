// SPDX-License-Identifier: Apache-2.0
#include "retrieval/search/asymmetric.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <utility>

#include "tests/support/codes.h"
#include "tests/support/values.h"

namespace hh::retrieval {
namespace {

PackedCodes random_codes(std::int64_t count, int bits) {
  const auto words = testing::codes(count, bits, 1, 5);
  PackedCodes codes;
  codes.append({words.data(), count, bits});
  return codes;
}

TEST_CASE("asymmetric search agrees with its definition", "[asymmetric]") {
  const int bits = GENERATE(8, 64, 72);
  const std::int64_t rows = 3000, queries = 3, k = GENERATE(1, 10);
  const PackedCodes database = random_codes(rows, bits);
  const auto query = testing::normal(std::size_t(queries * bits), 2);
  RowMask mask(rows, true);
  for (std::int64_t r = 0; r < rows; r += 3) mask.set(r, false);
  for (const bool masked : {false, true}) {
    const RowMask* allowed = masked ? &mask : nullptr;
    const RealResult got = asymmetric_topk(database, query, k, allowed);
    for (std::int64_t q = 0; q < queries; ++q) {
      std::vector<double> distances, sorted;
      for (std::int64_t r = 0; r < rows; ++r) {
        double sum = 0;
        for (int j = 0; j < bits; ++j) {
          const float u = query[std::size_t(q * bits + j)];
          if ((u > 0) != database.view().bit(r, j)) sum += std::abs(u);
        }
        distances.push_back(sum);
        if (allowed == nullptr || allowed->test(r)) sorted.push_back(sum);
      }
      std::sort(sorted.begin(), sorted.end());
      for (std::int64_t i = 0; i < k; ++i) {
        const auto at = std::size_t(q * k + i);
        CAPTURE(bits, q, i);
        // At most `bits` additions of positive numbers.
        const double bound = bits * 0x1p-24 * sorted[std::size_t(i)] + 1e-12;
        REQUIRE(std::abs(got.distances[at] - sorted[std::size_t(i)]) <= bound);
        REQUIRE(std::abs(got.distances[at] - distances[std::size_t(got.rows[at])]) <= bound);
        if (allowed != nullptr) REQUIRE(allowed->test(got.rows[at]));
      }
    }
  }
}

TEST_CASE("asymmetric search with signs is Hamming search", "[asymmetric]") {
  const PackedCodes database = random_codes(500, 32), codes = random_codes(4, 32);
  std::vector<float> signs;
  for (std::int64_t i = 0; i < 4; ++i) {
    for (int j = 0; j < 32; ++j) signs.push_back(codes.view().bit(i, j) ? 1.f : -1.f);
  }
  const RealResult real = asymmetric_topk(database, signs, 600);
  const TopkResult hamming = HammingScan(database).topk(codes, 600);
  REQUIRE(real.rows == hamming.rows);
  REQUIRE(std::isnan(real.distances[500]));
}

TEST_CASE("re-ranking orders candidates by their outputs", "[asymmetric]") {
  const int bits = 16;
  const auto outputs = testing::normal(100 * bits, 1), queries = testing::normal(2 * bits, 2);
  const PackedCodes database = PackedCodes::from_floats(outputs, 100, bits);
  const TopkResult candidates =
      HammingScan(database).topk(PackedCodes::from_floats(queries, 2, bits), 120);
  const RealResult got = rerank(candidates, queries, outputs, bits, 110);
  for (std::size_t q = 0; q < 2; ++q) {
    std::vector<std::pair<double, std::int64_t>> want;
    for (std::size_t r = 0; r < 100; ++r) {
      double sum = 0;
      for (std::size_t j = 0; j < bits; ++j) {
        sum += std::pow(double(queries[q * bits + j]) - outputs[r * bits + j], 2);
      }
      want.emplace_back(sum, std::int64_t(r));
    }
    std::sort(want.begin(), want.end());  // no two are within rounding of each other
    for (std::size_t i = 0; i < 110; ++i) {
      CAPTURE(q, i);
      REQUIRE(got.rows[q * 110 + i] == (i < 100 ? want[i].second : -1));
      if (i < 100) REQUIRE(got.distances[q * 110 + i] == Approx(want[i].first).epsilon(1e-5));
    }
  }
  REQUIRE_THROWS_WITH(rerank(candidates, queries, std::span(outputs).first(16 * 50), bits, 5),
                      Catch::Contains("no outputs"));
}

TEST_CASE("asymmetric search names what it refuses", "[asymmetric]") {
  const PackedCodes database(3, 8);
  const std::vector<float> query(8, 1.f), broken(8, NAN);
  REQUIRE_THROWS_WITH(asymmetric_topk(database, query, 0), Catch::Contains("k = 0"));
  REQUIRE_THROWS_WITH(asymmetric_topk(database, std::span(query).first(7), 1),
                      Catch::Contains("7 values"));
  REQUIRE_THROWS_WITH(asymmetric_topk(database, broken, 1), Catch::Contains("finite"));
}

}  // namespace
}  // namespace hh::retrieval
