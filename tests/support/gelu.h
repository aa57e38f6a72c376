// SPDX-License-Identifier: Apache-2.0
// Exact GELU and its derivatives in fp64, with the bounds of any float32 implementation.
#pragma once
#include <cmath>

#include "engine/device/device.h"
#include "tests/support/row_norm.h"

namespace hh::testing::gelu_reference {

inline constexpr double kUnit = unit<float>();

inline double lower_tail(double v) { return std::erfc(-v * std::sqrt(0.5)) / 2; }  // Phi
inline double density(double v) { return std::exp(-v * v / 2) / std::sqrt(2 * 3.141592653589793); }

inline double gelu(double v) { return v * lower_tail(v); }
inline double slope(double v) { return lower_tail(v) + v * density(v); }
inline double second(double v) { return (2 - v * v) * density(v); }

/// How far Phi and the derivative may be from the truth, absolutely, in units of 2^-24. On the CPU
/// gelu-inl.h says it. On a GPU the tail Q = 2^p errs by 0.13 from the fit of p, by Q ln 2 times
/// p's roundings, 0.6 at most, and by ex2's 2 ulp, 1 where Q > 1/4. The derivative adds v density <
/// 1/4 with v^2 + 5.5 relative units, from its exponent, ex2 and the products, 1.6 at v = 1, where
/// the tail's error is 1.2; then 1 - Q is rounded, and the sum, to 1 where it is above 1.
struct Allowance {
  double tail, slope;
};
inline Allowance allowance(Device device) {
  return device == kCpu ? Allowance{1, 2} : Allowance{2, 4.4};
}

/// What a float32 implementation may make of gelu(x + bias). v = x + bias is rounded, which moves y
/// by up to |v slope| units. Phi, or the tail Q = 1 - Phi, errs by `tail` units, absolutely, so v
/// times it errs by as many |v| units; past 5.6, where they may be cut off, Q is 1e-8 and smaller
/// than a unit. Then y is rounded, to a multiple of 2^-149 at best.
inline Bounded forward(double x, double bias, double tail) {
  const double v = x + bias;
  return {gelu(v),
          kUnit * (std::abs(v * slope(v)) + tail * std::abs(v) + std::abs(gelu(v))) + 0x1p-149};
}

/// The derivative errs by `units`, absolutely, and by what the rounding of v makes of it.
inline Bounded derivative(double x, double bias, double units) {
  const double v = x + bias;
  return {slope(v), kUnit * (std::abs(v * second(v)) + units)};
}

}  // namespace hh::testing::gelu_reference
