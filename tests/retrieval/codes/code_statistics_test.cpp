// SPDX-License-Identifier: Apache-2.0
#include "retrieval/codes/code_statistics.h"

#include <catch2/catch.hpp>
#include <cmath>

namespace hh::retrieval {
namespace {

TEST_CASE("statistics of codes", "[codes]") {
  // Bit 0 constant, bits 1 and 2 equal, bit 3 their opposite, bit 4 set once in four.
  const std::vector<std::uint8_t> bytes{0b01001, 0b00111, 0b01001, 0b10111};
  const CodeStatistics s = code_statistics(PackedCodes::from_bytes(bytes, 4, 8));
  REQUIRE(s.count == 4);
  REQUIRE(s.ones == std::vector<double>{1, 0.5, 0.5, 0.5, 0.25, 0, 0, 0});
  REQUIRE(s.entropy[0] == 0);
  REQUIRE(s.entropy[1] == 1);
  REQUIRE(s.entropy[4] == Approx(0.811278).epsilon(1e-6));
  REQUIRE(s.mean_entropy == Approx((3 + 0.811278) / 8).epsilon(1e-6));
  REQUIRE(s.mean_imbalance == Approx((1 + 0.5 + 3) / 8.0));
  // Three pairs of +-1; three of bit 4 with covariance +-1/8 over sqrt(1/4 * 3/16).
  REQUIRE(s.mean_abs_correlation == Approx((3 + 3 * 0.125 / std::sqrt(3.0 / 64)) / 28));
  REQUIRE(s.distinct == 3);
  REQUIRE(s.colliding == 2);
  REQUIRE(s.largest_group == 2);
}

TEST_CASE("statistics of no codes", "[codes]") {
  const CodeStatistics s = code_statistics(PackedCodes(0, 16));
  REQUIRE(s.ones.size() == 16);
  REQUIRE(s.distinct == 0);
}

}  // namespace
}  // namespace hh::retrieval
