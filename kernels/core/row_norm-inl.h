// SPDX-License-Identifier: Apache-2.0
// LayerNorm of one row, forward and backward, for the kernels that fuse it with something else.
// A row is short enough to stay in L1, so passing over it again costs no memory traffic.
// Numerics: float32 arithmetic on any storage type; the variance is the mean squared deviation, as
// E[z^2] - E[z]^2 cancels when |mean| >> std.
#if defined(HH_KERNELS_CORE_ROW_NORM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HH_KERNELS_CORE_ROW_NORM_INL_H_
#undef HH_KERNELS_CORE_ROW_NORM_INL_H_
#else
#define HH_KERNELS_CORE_ROW_NORM_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "kernels/core/simd_loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {

/// The sum of term(first, at) over a row, whose lanes past the end must be 0. Four partial sums, so
/// that additions don't wait for one another.
template <class D, class Term>
HWY_INLINE float row_sum(D d, std::size_t cols, Term term) {
  const std::size_t lanes = hn::Lanes(d);
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  std::size_t c = 0;
  for (; c + 4 * lanes <= cols; c += 4 * lanes) {
    s0 = hn::Add(s0, term(c, WholeVector()));
    s1 = hn::Add(s1, term(c + lanes, WholeVector()));
    s2 = hn::Add(s2, term(c + 2 * lanes, WholeVector()));
    s3 = hn::Add(s3, term(c + 3 * lanes, WholeVector()));
  }
  for (; c + lanes <= cols; c += lanes) s0 = hn::Add(s0, term(c, WholeVector()));
  if (c < cols) s1 = hn::Add(s1, term(c, PartVector{cols - c}));
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
}

struct RowStatistics {
  float mean, rstd;
};

/// Statistics of z[0, cols), of which the sum is known (the pass that made z can have it).
template <class D, class T>
HWY_INLINE RowStatistics row_statistics(D d, const T* z, std::size_t cols, float sum, float eps) {
  const float mean = sum / float(cols);
  const auto m = hn::Set(d, mean);
  const float squares = row_sum(d, cols, [&](std::size_t c, auto at) HWY_ATTR {
    const auto deviation = at.within(d, hn::Sub(at.load(d, z + c), m));
    return hn::Mul(deviation, deviation);
  });
  return {mean, 1.0f / std::sqrt(squares / float(cols) + eps)};
}

/// y = (z - mean) * rstd * gamma + beta. y may be z.
template <class D, class Z, class Y>
HWY_INLINE void row_normalise(D d, const Z* z, std::size_t cols, RowStatistics s,
                              const float* gamma, const float* beta, Y* y) {
  const auto mean = hn::Set(d, s.mean), rstd = hn::Set(d, s.rstd);
  for_each_vector(d, cols, [&](std::size_t c, auto at) HWY_ATTR {
    const auto normal = hn::Mul(hn::Sub(at.load(d, z + c), mean), rstd);
    at.store(d, hn::MulAdd(normal, at.load(d, gamma + c), at.load(d, beta + c)), y + c);
  });
}

/// Rows that a pass is made over before the next pass. The sums at the end of a pass over a short
/// row take long and depend on one another; those of several rows don't.
constexpr std::int64_t kRowsPerPass = 4;

/// Calls body(first, number) for the rows [begin, end), some at a time.
template <class Body>
HWY_INLINE void for_each_pass(std::int64_t begin, std::int64_t end, Body body) {
  for (std::int64_t r = begin; r < end; r += kRowsPerPass) {
    body(r, std::min(kRowsPerPass, end - r));
  }
}

/// LayerNorm of the rows [begin, end) of z to y. make_row(r) writes row r of z and returns its sum.
/// mean and rstd may be null.
template <class D, class Z, class Y, class MakeRow>
HWY_INLINE void make_and_normalise_rows(D d, std::int64_t begin, std::int64_t end, std::size_t cols,
                                        float eps, const float* gamma, const float* beta,
                                        const Z* z, Y* y, float* mean, float* rstd,
                                        MakeRow make_row) {
  for_each_pass(begin, end, [&](std::int64_t first, std::int64_t number) HWY_ATTR {
    float sums[kRowsPerPass];
    RowStatistics s[kRowsPerPass];
    const std::size_t at = std::size_t(first) * cols;
    const auto n = std::size_t(number);
    for (std::size_t i = 0; i < n; ++i) sums[i] = make_row(first + std::int64_t(i));
    for (std::size_t i = 0; i < n; ++i) {
      s[i] = row_statistics(d, z + at + i * cols, cols, sums[i], eps);
    }
    for (std::size_t i = 0; i < n; ++i) {
      row_normalise(d, z + at + i * cols, cols, s[i], gamma, beta, y + at + i * cols);
      if (mean == nullptr) continue;
      mean[std::size_t(first) + i] = s[i].mean;
      rstd[std::size_t(first) + i] = s[i].rstd;
    }
  });
}

/// dLayerNorm(dy) of a row, in two passes. The first, at construction, also adds the row to the
/// gradients of gamma and beta. The second is the caller's, who fuses it: operator() gives the
/// gradient at some columns, of which it wants dy and z again.
///
///   h = (z - mean) * rstd,  g = dy * gamma:   dz = rstd * (g - 1/C sum g - h * 1/C sum g h)
template <class D>
class RowGradient {
 public:
  using V = hn::Vec<D>;

  RowGradient() = default;
  template <class G, class Z>
  HWY_INLINE RowGradient(D d, const G* dy, const Z* z, std::size_t cols, RowStatistics s,
                         const float* gamma, float* dgamma, float* dbeta)
      : mean_(hn::Set(d, s.mean)), rstd_(hn::Set(d, s.rstd)) {
    auto sum = hn::Zero(d), sum_h = sum;
    for_each_vector(d, cols, [&](std::size_t c, auto at) HWY_ATTR {
      const V v = at.load(d, dy + c), h = normal(at.load(d, z + c));
      const V g = hn::Mul(v, at.load(d, gamma + c));
      sum = hn::Add(sum, g);
      sum_h = hn::MulAdd(g, h, sum_h);
      at.store(d, hn::MulAdd(v, h, at.load(d, dgamma + c)), dgamma + c);
      at.store(d, hn::Add(v, at.load(d, dbeta + c)), dbeta + c);
    });
    const auto scale = hn::Set(d, 1.0f / float(cols));
    mean_g_ = hn::Mul(hn::SumOfLanes(d, sum), scale);
    mean_gh_ = hn::Mul(hn::SumOfLanes(d, sum_h), scale);
  }

  HWY_INLINE V operator()(V dy, V z, V gamma) const {
    const V centred = hn::MulSub(dy, gamma, mean_g_);
    return hn::Mul(rstd_, hn::NegMulAdd(normal(z), mean_gh_, centred));
  }

 private:
  HWY_INLINE V normal(V z) const { return hn::Mul(hn::Sub(z, mean_), rstd_); }

  V mean_, rstd_, mean_g_, mean_gh_;
};

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
