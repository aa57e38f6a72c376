// SPDX-License-Identifier: Apache-2.0
// Mapping   One thread per four elements of one segment, a block's width apart, so that every
//           access of a warp is contiguous; a block lies in one segment. Segments, host memory,
//           travel in the launch's own arguments, up to 64 a launch.
// Traffic   reads weight, gradient and state and writes weight, state and copy: each once.
// Numerics  float32, in the order of the header's formulas; no contraction is relied upon.
#include <algorithm>
#include <cmath>

#include "kernels/core/device.cuh"
#include "kernels/optimizer/optimizer_update.h"

namespace hh::gpu {
namespace {

constexpr int kThreads = 256, kItems = 4;
constexpr int kPerBlock = kThreads * kItems;
// A segment's blocks start at the multiple of 32 elements at or before it, so that the accesses of
// a warp cover whole sectors, of the 16-bit copies too, wherever the segment begins.
constexpr int kAlign = 32;
constexpr int kSegments = 64;  // per launch: about 2 KiB of arguments

/// Part of a launch: blocks [first_block, next part's first_block) work on one segment.
struct Part {
  OptimizerSegment segment;
  std::int64_t first_block;
};
struct Parts {
  Part v[kSegments];
  int count;
};

__device__ float decayed(float g, float w, float wd) { return g + wd * w; }

struct Rmsprop {
  RmspropUpdate p;
  __device__ void operator()(std::int64_t i, float g, float wd, float& w) const {
    g = decayed(g, w, wd);
    const float v = p.rho * p.square[i] + (1 - p.rho) * g * g;
    p.square[i] = v;
    w -= p.arrays.learning_rate * g / (sqrtf(v) + p.eps);
  }
};

struct Adamw {
  AdamwUpdate p;
  float mean_correction, square_correction;  // 1 / (1 - beta^t)
  __device__ void operator()(std::int64_t i, float g, float wd, float& w) const {
    w -= p.arrays.learning_rate * wd * w;
    const float m = p.beta1 * p.mean[i] + (1 - p.beta1) * g;
    const float v = p.beta2 * p.square[i] + (1 - p.beta2) * g * g;
    p.mean[i] = m;
    p.square[i] = v;
    w -= p.arrays.learning_rate * (m * mean_correction) / (sqrtf(v * square_correction) + p.eps);
  }
};

struct Sgd {
  SgdUpdate p;
  __device__ void operator()(std::int64_t i, float g, float wd, float& w) const {
    const float m = p.momentum * p.momentum_buffer[i] + decayed(g, w, wd);
    p.momentum_buffer[i] = m;
    w -= p.arrays.learning_rate * m;
  }
};

template <class Rule>
__global__ void __launch_bounds__(kThreads)
    optimizer_update_kernel(const Rule rule, const Parts parts) {
  const OptimizerArrays& a = rule.p.arrays;
  if (a.skip != nullptr && *a.skip != 0) return;
  const float scale = a.scale != nullptr ? *a.scale : 1.0f;
  int k = 0;  // the last part that starts at or before this block
  for (int step = kSegments / 2; step > 0; step /= 2) {
    if (k + step < parts.count && parts.v[k + step].first_block <= blockIdx.x) k += step;
  }
  const Part& part = parts.v[k];
  const std::int64_t offset =
      (blockIdx.x - part.first_block) * kPerBlock - part.segment.begin % kAlign;
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    const std::int64_t at = offset + item * kThreads + threadIdx.x;
    if (at >= part.segment.count) return;
    if (at < 0) continue;  // of the segment before
    const std::int64_t i = part.segment.begin + at;
    float w = a.weight[i];
    rule(i, scale * a.gradient[i], part.segment.weight_decay, w);
    a.weight[i] = w;
    if (a.copy != nullptr) a.copy[i] = narrow<bf16>(w);
    if (a.f16_copy != nullptr) a.f16_copy[i] = narrow<f16>(w);
  }
}

template <class Rule>
void launch_all(const Rule& rule, StreamHandle stream) {
  const OptimizerArrays& a = rule.p.arrays;
  for (int first = 0; first < a.segment_count; first += kSegments) {
    Parts parts{};
    std::int64_t blocks = 0;
    for (int s = first; s < std::min(a.segment_count, first + kSegments); ++s) {
      if (a.segments[s].count == 0) continue;
      parts.v[parts.count++] = {a.segments[s], blocks};
      blocks += ceil_div(a.segments[s].count + a.segments[s].begin % kAlign, kPerBlock);
    }
    if (blocks == 0) continue;
    optimizer_update_kernel<Rule><<<grid_of(blocks), kThreads, 0, stream>>>(rule, parts);
    HH_CHECK_LAUNCH(stream);
  }
}

}  // namespace

void run(const RmspropUpdate& p, StreamHandle stream) {
  p.validate();
  launch_all(Rmsprop{p}, stream);
}

void run(const AdamwUpdate& p, StreamHandle stream) {
  p.validate();
  const auto correction = [&](float beta) {
    return float(1 / (1 - std::pow(double(beta), double(p.step))));
  };
  launch_all(Adamw{p, correction(p.beta1), correction(p.beta2)}, stream);
}

void run(const SgdUpdate& p, StreamHandle stream) {
  p.validate();
  launch_all(Sgd{p}, stream);
}

}  // namespace hh::gpu
