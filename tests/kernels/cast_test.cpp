// SPDX-License-Identifier: Apache-2.0
#include "kernels/elementwise/cast.h"

#include <bit>
#include <catch2/catch.hpp>

#include "kernels/core/parallel.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array;

template <class From, class To>
std::vector<To> run_cast(Device device, const std::vector<From>& from) {
  const Array from_array(device, from);
  const Array to_array(device, std::vector<To>(from.size(), from_float<To>(NAN)));
  testing::run(device, Cast<From, To>{.from = from_array.data(),
                                      .to = to_array.data(),
                                      .n = std::int64_t(from.size())});
  return to_array.host();
}

/// The value of a 16-bit pattern, from the format's definition: a sign, an exponent, a fraction.
double value_of(std::uint16_t bits, int fraction_bits, int bias) {
  const int fraction = bits & ((1 << fraction_bits) - 1);
  const int exponent = (bits & 0x7fff) >> fraction_bits;
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == 0x7fff >> fraction_bits) return fraction != 0 ? NAN : sign * INFINITY;
  const double significand = std::ldexp(fraction, -fraction_bits) + (exponent != 0);
  return sign * std::ldexp(significand, std::max(exponent, 1) - bias);
}

template <class T>
struct Format;
template <>
struct Format<bf16> {
  static constexpr int kFraction = 7, kBias = 127;
};
template <>
struct Format<f16> {
  static constexpr int kFraction = 10, kBias = 15;
};
template <class T>
double value_of(T v) {
  return value_of(v.bits, Format<T>::kFraction, Format<T>::kBias);
}

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

TEMPLATE_TEST_CASE("cast widens every value exactly", "[elementwise]", bf16, f16) {
  using T = TestType;
  const Device device = GENERATE(from_range(testing::devices()));
  std::vector<T> all(65536);
  for (std::size_t i = 0; i < all.size(); ++i) all[i].bits = std::uint16_t(i);
  const auto wide = run_cast<T, float>(device, all);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    wrong += !same(wide[i], value_of(all[i]));
    wrong += std::signbit(wide[i]) != (i >= 32768) && !std::isnan(wide[i]);
  }
  REQUIRE(wrong == 0);
}

TEMPLATE_TEST_CASE("cast narrows to the nearest value, ties to even", "[elementwise]", bf16, f16) {
  using T = TestType;
  const Device device = GENERATE(from_range(testing::devices()));
  // All values, the ties between neighbours and the float32 numbers on both sides of them.
  std::vector<float> from;
  std::vector<T> want;
  for (std::uint16_t i = 0; i < 0x7fff; ++i) {
    const T low{i}, high{std::uint16_t(i + 1)};
    const double a = value_of(low), b = value_of(high);
    if (!std::isfinite(a)) break;
    // The infinity counts as the next power of two.
    const double top = std::isfinite(b) ? b : std::ldexp(2.0, std::ilogb(a));
    const auto middle = float((a + top) / 2);  // float32 has more bits, so it is exact
    const T even = i % 2 == 0 ? low : high;
    const std::pair<float, T> cases[] = {{float(a), low},
                                         {std::nextafter(middle, 0.0f), low},
                                         {middle, even},
                                         {std::nextafter(middle, INFINITY), high}};
    for (const auto& [x, y] : cases) {
      from.push_back(x);
      want.push_back(y);
      from.push_back(-x);
      want.push_back({std::uint16_t(y.bits | 0x8000)});
    }
  }
  for (const float x : {INFINITY, 3.4e38f}) {
    from.push_back(x);
    want.push_back(from_float<T>(INFINITY));
  }
  const auto got = run_cast<float, T>(device, from);
  std::size_t wrong = 0, first_wrong = 0;
  for (std::size_t i = from.size(); i-- > 0;) {
    if (got[i].bits == want[i].bits) continue;
    ++wrong;
    first_wrong = i;
  }
  CAPTURE(from[first_wrong], got[first_wrong].bits, want[first_wrong].bits);
  REQUIRE(wrong == 0);
  const std::vector<float> nan(37, NAN);
  for (const T v : run_cast<float, T>(device, nan)) REQUIRE(std::isnan(value_of(v)));
}

TEST_CASE("cast of any length", "[elementwise]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const int n = GENERATE(0, 1, 7, 8, 15, 16, 17, 31, 33, 100001);
  const int threads = GENERATE(1, 3);
  CAPTURE(device, n, threads);
  cpu::set_num_threads(threads);
  const auto from = testing::normal(std::size_t(n), 1);
  const auto brains = run_cast<float, bf16>(device, from);
  const auto halves = run_cast<float, f16>(device, from);
  const auto from_brains = run_cast<bf16, float>(device, brains);
  const auto from_halves = run_cast<f16, float>(device, halves);
  cpu::set_num_threads(0);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < from.size(); ++i) {
    wrong += from_brains[i] != to_float(from_float<bf16>(from[i]));
    wrong += from_halves[i] != to_float(from_float<f16>(from[i]));
  }
  REQUIRE(wrong == 0);
}

TEST_CASE("cast names what it refuses", "[elementwise]") {
  REQUIRE_THROWS_WITH((cpu::run(Cast<float, bf16>{.n = -1})), Catch::Contains("n = -1"));
  REQUIRE_THROWS_WITH((cpu::run(Cast<f16, float>{.n = 1})), Catch::Contains("null"));
}

}  // namespace
}  // namespace hh
