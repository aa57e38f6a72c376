// SPDX-License-Identifier: Apache-2.0
// Test inputs and how errors are judged.
#pragma once
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "kernels/core/half.h"
#include "kernels/core/philox.h"

namespace hh::testing {

/// n values of a normal distribution, the same on every machine (Box-Muller on Philox).
template <class T = float>
std::vector<T> normal(std::size_t n, std::uint64_t seed, float mean = 0, float std = 1) {
  const Philox random(seed, RandomPurpose::kTest);
  std::vector<T> v(n);
  for (std::size_t i = 0; i < n; ++i) {
    const double u = 1.0 - random.uniform(2 * i), w = random.uniform(2 * i + 1);
    const double z = std::sqrt(-2 * std::log(u)) * std::cos(2 * 3.141592653589793 * w);
    v[i] = from_float<T>(float(mean + std * z));
  }
  return v;
}

/// The largest |error| / bound seen, and where. A NaN error or a negative bound counts as infinite,
/// so an unwritten output can't pass.
struct Worst {
  double ratio = 0;
  std::size_t index = 0;
  void see(double error, double bound, std::size_t i) {
    double r = std::abs(error) / bound;
    if (error == 0 && bound == 0) r = 0;
    if (!(r >= 0)) r = INFINITY;
    if (r > ratio) {
      ratio = r;
      index = i;
    }
  }
};

/// Unit roundoff of a storage type: |stored - x| <= unit<T>() * |x|.
template <class T>
constexpr double unit();
template <>
constexpr double unit<float>() {
  return 0x1p-24;
}
template <>
constexpr double unit<bf16>() {
  return 0x1p-8;
}
template <>
constexpr double unit<f16>() {
  return 0x1p-11;
}

/// What rounding a float32 result to T may add, relative to it.
template <class T>
constexpr double storage() {
  return std::is_same_v<T, float> ? 0 : unit<T>();
}

/// Spacing of the smallest numbers of a storage type, where the roundoff is half of it.
template <class T>
constexpr double least();
template <>
constexpr double least<float>() {
  return 0x1p-149;
}
template <>
constexpr double least<bf16>() {
  return 0x1p-133;
}
template <>
constexpr double least<f16>() {
  return 0x1p-24;
}

}  // namespace hh::testing
