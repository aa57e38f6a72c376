// SPDX-License-Identifier: Apache-2.0
// LayerNorm of one row in fp64, forward and backward, each with the bound of any float32
// implementation that starts from the same inputs.
#pragma once
#include <cmath>
#include <type_traits>
#include <vector>

#include "tests/support/values.h"

namespace hh::testing {

/// A value and how far a float32 implementation may be from it.
struct Bounded {
  double value = 0, bound = 0;
};

/// After rounding to the storage type T.
template <class T>
Bounded stored(const Bounded& b) {
  if constexpr (std::is_same_v<T, float>) return b;
  return {b.value, b.bound + unit<T>() * (std::abs(b.value) + b.bound) + least<T>() / 2};
}

/// A sum of C numbers, in any order, errs by at most C units of the sum of their sizes. The
/// deviations of the variance are from the rounded mean, which adds the square of its error.
struct RowNorm {
  Bounded mean, rstd;

  RowNorm(const std::vector<double>& z, double eps) {
    const double cols = double(z.size()), u = unit<float>();
    double size = 0, variance = 0;
    for (const double x : z) {
      mean.value += x / cols;
      size += std::abs(x) / cols;
    }
    for (const double x : z) variance += (x - mean.value) * (x - mean.value) / cols;
    mean.bound = (cols + 2) * u * size;
    rstd.value = 1 / std::sqrt(variance + eps);
    const double shift = mean.bound * rstd.value;
    rstd.bound = rstd.value * ((cols + 8) * u + shift * shift);
  }

  Bounded y(double z, double gamma, double beta) const {
    const double scaled = (z - mean.value) * rstd.value * gamma, want = scaled + beta;
    const double u = unit<float>();
    return {want, std::abs(gamma) * rstd.value * mean.bound +
                      std::abs(scaled) * (rstd.bound / rstd.value + 4 * u) +
                      2 * u * (std::abs(want) + std::abs(beta))};
  }
};

/// dLayerNorm(dy) for the mean and rstd that forward stored: with h = (z - mean) rstd, g = dy gamma
/// it is rstd (g - 1/C sum g - h 1/C sum g h). h errs by 2 units, g by 1, g h by 4, their sums by C
/// more; then come four operations.
struct RowNormGradient {
  std::vector<double> h, dy;
  double rstd, mean_g = 0, mean_gh = 0, size_g = 0, size_gh = 0;
  std::vector<double> g;

  RowNormGradient(const std::vector<double>& dy_in, const std::vector<double>& z, double mean,
                  double rstd_in, const std::vector<double>& gamma)
      : h(z.size()), dy(dy_in), rstd(rstd_in), g(z.size()) {
    const double cols = double(z.size());
    for (std::size_t c = 0; c < z.size(); ++c) {
      h[c] = (z[c] - mean) * rstd;
      g[c] = dy[c] * gamma[c];
      mean_g += g[c] / cols;
      mean_gh += g[c] * h[c] / cols;
      size_g += std::abs(g[c]) / cols;
      size_gh += std::abs(g[c] * h[c]) / cols;
    }
  }

  /// Of dz at a column, plus `more`, an exact addend.
  Bounded dz(std::size_t c, double more) const {
    const double cols = double(h.size()), u = unit<float>();
    const double value = rstd * (g[c] - mean_g - h[c] * mean_gh) + more;
    return {value, u * (rstd * (5 * std::abs(g[c]) + (cols + 8) * size_g +
                                (cols + 12) * std::abs(h[c]) * size_gh) +
                        2 * std::abs(value))};
  }
};

/// A sum over rows into a number that was there before.
struct BoundedSum {
  double value = 0, size = 0, error = 0;
  int terms = 0;

  explicit BoundedSum(double before = 0) : value(before), size(std::abs(before)) {}

  /// `bound`: of the term itself.
  void add(double term, double bound) {
    value += term;
    size += std::abs(term);
    error += bound;
    ++terms;
  }
  /// n additions in any order err by at most n units of the sum of sizes.
  double bound() const { return error + (terms + 1) * unit<float>() * (size + error); }
};

}  // namespace hh::testing
