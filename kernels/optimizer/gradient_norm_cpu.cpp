// SPDX-License-Identifier: Apache-2.0
// Traffic   Reads each gradient once.
// Numerics  A square of a float32 is exact in float64 and their sum can't overflow it, so the norm
//           is good to a unit of float32, and not finite exactly when a gradient isn't or the norm
//           itself is past float32.
#include <algorithm>
#include <cmath>

#include "kernels/core/parallel.h"
#include "kernels/optimizer/gradient_norm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/optimizer/gradient_norm_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {

double sum_of_squares(const float* g, std::int64_t n) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> d32;
  const auto lanes = std::int64_t(hn::Lanes(d));
  // Four chains hide the latency of the additions.
  auto a = hn::Zero(d), b = hn::Zero(d), c = hn::Zero(d), e = hn::Zero(d);
  std::int64_t i = 0;
  const auto add = [&](auto& sum, std::int64_t at) HWY_ATTR {
    const auto x = hn::PromoteTo(d, hn::LoadU(d32, g + at));
    sum = hn::MulAdd(x, x, sum);
  };
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    add(a, i);
    add(b, i + lanes);
    add(c, i + 2 * lanes);
    add(e, i + 3 * lanes);
  }
  for (; i + lanes <= n; i += lanes) add(a, i);
  double sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(a, b), hn::Add(c, e))));
  for (; i < n; ++i) sum += double(g[i]) * double(g[i]);
  return sum;
}

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::cpu {
namespace {

HWY_EXPORT(sum_of_squares);

}  // namespace

void run(const GradientSquares& p) {
  p.validate();
  parallel_chunks(GradientSquares::chunks(p.n), [&](std::int64_t c) {
    const std::int64_t begin = c * GradientSquares::kChunk;
    p.squares[c] = HWY_DYNAMIC_DISPATCH(sum_of_squares)(
        p.gradient + begin, std::min(GradientSquares::kChunk, p.n - begin));
  });
}

void run(const GradientNorm& p) {
  p.validate();
  double sum = 0;
  for (std::int64_t c = 0; c < p.chunks; ++c) sum += p.squares[c];
  const double norm = double(p.inverse_loss_scale) * std::sqrt(sum);
  const bool clip = p.max_norm > 0 && norm > double(p.max_norm);
  p.norm[0] = float(norm);
  p.scale[0] = float(double(p.inverse_loss_scale) * (clip ? double(p.max_norm) / norm : 1.0));
  p.skip[0] = std::isfinite(p.norm[0]) ? 0 : 1;
}

}  // namespace hh::cpu
#endif
