// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/half.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "kernels/core/philox.h"

namespace hh {
namespace {

/// A 16-bit format: bits of the mantissa, exponent of the smallest normal number.
template <class T>
struct Format;
template <>
struct Format<f16> {
  static constexpr int kMantissa = 10, kSmallest = -14, kBias = 15;
};
template <>
struct Format<bf16> {
  static constexpr int kMantissa = 7, kSmallest = -126, kBias = 127;
};

/// The value of a bit pattern, by the definition of IEEE 754. Infinity and NaN as such.
template <class T>
double value_of(std::uint32_t bits) {
  using F = Format<T>;
  const int exponent = int((bits & 0x7fff) >> F::kMantissa);
  const double mantissa = bits & ((1u << F::kMantissa) - 1);
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == 2 * F::kBias + 1) return mantissa == 0 ? sign * INFINITY : double(NAN);
  if (exponent == 0) return sign * std::ldexp(mantissa, F::kSmallest - F::kMantissa);
  return sign * std::ldexp(1 + std::ldexp(mantissa, -F::kMantissa), exponent - F::kBias);
}

/// x rounded to the nearest value of the format, ties to even, in float64.
template <class T>
double rounded(double x) {
  using F = Format<T>;
  const int exponent = std::max(x == 0 ? F::kSmallest : std::ilogb(x), F::kSmallest);
  const double quantum = std::ldexp(1.0, exponent - F::kMantissa);
  const double y = std::nearbyint(x / quantum) * quantum;  // the division is exact
  return std::abs(y) >= std::ldexp(2.0, F::kBias) ? std::copysign(INFINITY, x) : y;
}

TEMPLATE_TEST_CASE("all 65,536 patterns have their value and come back", "[half]", f16, bf16) {
  using T = TestType;
  std::size_t wrong_values = 0, wrong_bits = 0, nans = 0;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = to_float(T{std::uint16_t(bits)});
    const T back = from_float<T>(value);
    const double want = value_of<T>(bits);
    if (std::isnan(want)) {
      ++nans;
      wrong_values += !std::isnan(value);
      wrong_bits += !std::isnan(to_float(back)) || (back.bits ^ bits) >> 15 != 0;
    } else {
      wrong_values += double(value) != want || std::signbit(value) != std::signbit(want);
      wrong_bits += back.bits != bits;
    }
  }
  REQUIRE(wrong_values == 0);
  REQUIRE(wrong_bits == 0);
  REQUIRE(nans == 2 * ((1u << Format<T>::kMantissa) - 1));
}

TEMPLATE_TEST_CASE("float32 rounds to the nearest, ties to even", "[half]", f16, bf16) {
  using T = TestType;
  const auto wrong = [](float x) {
    return double(to_float(from_float<T>(x))) != rounded<T>(double(x));
  };
  // Between each two neighbours, the last pair being the largest number and infinity's place: the
  // middle, and the float32 on either side of it.
  std::size_t wrongs = 0;
  const std::uint32_t infinity = (2u * Format<T>::kBias + 1) << Format<T>::kMantissa;
  for (std::uint32_t bits = 0; bits < infinity; ++bits) {
    const double low = value_of<T>(bits);
    const double high =
        bits + 1 < infinity ? value_of<T>(bits + 1) : std::ldexp(2.0, Format<T>::kBias);
    const auto middle = float((low + high) / 2);
    for (const float x : {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, INFINITY)}) {
      wrongs += wrong(x);
      wrongs += wrong(-x);
    }
  }
  REQUIRE(wrongs == 0);
  const Philox random(1, RandomPurpose::kTest);
  for (std::uint64_t i = 0; i < 200'000; ++i) {
    const auto x = std::bit_cast<float>(random.word(i));
    if (std::isfinite(x)) wrongs += wrong(x);
  }
  REQUIRE(wrongs == 0);
}

TEST_CASE("overflow gives infinity and NaN stays NaN", "[half]") {
  REQUIRE(from_float<f16>(65504).bits == 0x7bff);
  REQUIRE(from_float<f16>(65519.99f).bits == 0x7bff);
  REQUIRE(from_float<f16>(65520).bits == 0x7c00);
  REQUIRE(from_float<f16>(-INFINITY).bits == 0xfc00);
  REQUIRE(from_float<bf16>(std::numeric_limits<float>::max()).bits == 0x7f80);
  REQUIRE(from_float<bf16>(-INFINITY).bits == 0xff80);
  // A NaN whose mantissa lies in the bits that are cut off.
  const auto low_nan = std::bit_cast<float>(0x7f800001u);
  REQUIRE(std::isnan(to_float(from_float<bf16>(low_nan))));
  REQUIRE(std::isnan(to_float(from_float<f16>(low_nan))));
  REQUIRE(to_float(1.5f) == 1.5f);
  REQUIRE(from_float<float>(1.5f) == 1.5f);
}

}  // namespace
}  // namespace hh
