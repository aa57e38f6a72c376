// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/philox.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <set>
#include <vector>

namespace hh {
namespace {

TEST_CASE("philox4x32-10 gives Random123's known answers", "[philox]") {
  struct KnownAnswer {
    std::uint64_t counter, stream, seed;  // low and high halves of the counter; the key
    std::uint32_t words[4];
  };
  // kat_vectors of Random123 1.14, the lines of philox4x32 with 10 rounds.
  const KnownAnswer known =
      GENERATE(KnownAnswer{0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
               KnownAnswer{~std::uint64_t{0},
                           ~std::uint64_t{0},
                           ~std::uint64_t{0},
                           {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
               KnownAnswer{0x85a308d3243f6a88,
                           0x0370734413198a2e,
                           0x299f31d0a4093822,
                           {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
  Philox random;
  random.seed = known.seed;
  random.stream = known.stream;
  const Philox::Block block = random.block(known.counter);
  for (int i = 0; i < 4; ++i) REQUIRE(block.v[i] == known.words[i]);
}

TEST_CASE("numbers of a stream are the words of its blocks", "[philox]") {
  const Philox random(7, RandomPurpose::kTest, 3);
  REQUIRE(random.seed == 7);
  REQUIRE(random.stream == 0x0000000700000003);
  for (std::uint64_t i = 0; i < 20; ++i) {
    const std::uint32_t word = random.block(i / 4).v[i % 4];
    REQUIRE(random.word(i) == word);
    REQUIRE(random.uniform(i) == float(word >> 8) / 16777216.0f);
    REQUIRE(random.below(i, 1) == 0);
    REQUIRE(random.below(i, 1000) == std::uint32_t(double(word) * 1000 / 4294967296.0));
  }
}

TEST_CASE("streams of other seeds, purposes and indices are others", "[philox]") {
  std::set<std::uint32_t> first;
  for (const std::uint64_t seed : {0, 1, 2}) {
    for (const RandomPurpose purpose : {RandomPurpose::kDropPath, RandomPurpose::kShuffle}) {
      for (const std::uint32_t index : {0u, 1u, 0xffffffffu}) {
        first.insert(Philox(seed, purpose, index).word(0));
      }
    }
  }
  REQUIRE(first.size() == 18);
}

TEST_CASE("uniform fills [0, 1) evenly, neighbours are independent", "[philox]") {
  const Philox random(11, RandomPurpose::kTest);
  const std::uint64_t n = 100'000;
  const std::size_t bins = 64;
  std::vector<double> count(bins), pairs(bins);
  double sum = 0;
  int outside = 0;
  for (std::uint64_t i = 0; i < n; ++i) {
    const float x = random.uniform(i), y = random.uniform(i + 1);
    outside += !(x >= 0 && x < 1);
    sum += double(x);
    ++count[std::size_t(x * float(bins))];
    ++pairs[std::size_t(x * 8) * 8 + std::size_t(y * 8)];
  }
  REQUIRE(outside == 0);
  // Five standard deviations: of the mean, and of chi-square with 63 degrees of freedom, whose
  // mean is 63 and variance 126.
  REQUIRE(std::abs(sum / double(n) - 0.5) < 5 * std::sqrt(1.0 / 12 / double(n)));
  const double expected = double(n) / double(bins);
  double chi = 0, chi_pairs = 0;
  for (std::size_t b = 0; b < bins; ++b) {
    chi += (count[b] - expected) * (count[b] - expected) / expected;
    chi_pairs += (pairs[b] - expected) * (pairs[b] - expected) / expected;
  }
  REQUIRE(std::abs(chi - 63) < 5 * std::sqrt(126.0));
  REQUIRE(std::abs(chi_pairs - 63) < 5 * std::sqrt(126.0));
}

TEST_CASE("below is even over its range", "[philox]") {
  const Philox random(12, RandomPurpose::kTest);
  const std::uint32_t range = GENERATE(2u, 7u, 100u);
  const double n = 50'000, p = 1.0 / range;
  std::vector<double> count(range);
  for (std::uint64_t i = 0; i < std::uint64_t(n); ++i) {
    const std::uint32_t x = random.below(i, range);
    ++count.at(x);  // throws outside the range
  }
  for (const double c : count) REQUIRE(std::abs(c - n * p) < 5 * std::sqrt(n * p * (1 - p)));
}

}  // namespace
}  // namespace hh
