// SPDX-License-Identifier: Apache-2.0
// Mapping   One block per chunk of 65,536, in packs of four elements, a block's width apart; the
//           block's sum is a fixed tree. Then one block adds up the chunks, of which a network of 55
//           million parameters has 850, by the same tree for all who share them, and makes norm,
//           scale and skip.
// Traffic   reads the gradient once.
#include "kernels/core/device.cuh"
#include "kernels/optimizer/gradient_norm.h"

namespace hh::gpu {
namespace {

constexpr int kThreads = 512;

/// The gradient's elements, `kCount` in one access.
template <int kCount>
__global__ void __launch_bounds__(kThreads) gradient_squares_kernel(const GradientSquares p) {
  const std::int64_t begin = std::int64_t{blockIdx.x} * GradientSquares::kChunk;
  const int count = int(min(GradientSquares::kChunk, p.n - begin));
  const float* const g = p.gradient + begin;
  double sum = 0;
  const auto add = [&](float v) { sum += double(v) * double(v); };
#pragma unroll 4
  for (int i = int(threadIdx.x) * kCount; i + kCount <= count; i += kThreads * kCount) {
    float v[kCount];
    load_floats(g + i, v);
#pragma unroll
    for (int k = 0; k < kCount; ++k) add(v[k]);
  }
  const int rest = count / kCount * kCount + int(threadIdx.x);  // fewer than a pack
  if (rest < count) add(g[rest]);
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) p.squares[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) gradient_norm_kernel(const GradientNorm p) {
  double sum = 0;
  for (std::int64_t c = threadIdx.x; c < p.chunks; c += kThreads) sum += p.squares[c];
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x != 0) return;
  const double norm = double(p.inverse_loss_scale) * sqrt(sum);
  const bool clip = p.max_norm > 0 && norm > double(p.max_norm);
  *p.norm = float(norm);
  *p.scale = float(double(p.inverse_loss_scale) * (clip ? double(p.max_norm) / norm : 1.0));
  *p.skip = isfinite(*p.norm) ? 0 : 1;
}

}  // namespace

void run(const GradientSquares& p, StreamHandle stream) {
  p.validate();
  if (p.n == 0) return;
  const dim3 blocks = grid_of(GradientSquares::chunks(p.n));
  if (aligned16(p.gradient)) {
    gradient_squares_kernel<4><<<blocks, kThreads, 0, stream>>>(p);
  } else {
    gradient_squares_kernel<1><<<blocks, kThreads, 0, stream>>>(p);
  }
  HH_CHECK_LAUNCH(stream);
}

void run(const GradientNorm& p, StreamHandle stream) {
  p.validate();
  gradient_norm_kernel<<<1, kThreads, 0, stream>>>(p);
  HH_CHECK_LAUNCH(stream);
}

}  // namespace hh::gpu
