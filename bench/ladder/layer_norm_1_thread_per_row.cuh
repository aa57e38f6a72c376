// SPDX-License-Identifier: Apache-2.0
// Idea    A thread a row, as a CPU would do it: z, its mean, its variance, y, a loop each.
// Costs   The threads of a warp are a whole row apart, so each of their 2-byte accesses asks
//         for a sector of 32 bytes of its own; z comes back from memory twice.
#pragma once
#include "bench/ladder/rung.h"
#include "kernels/core/device.cuh"
#include "kernels/core/launch.cuh"

namespace hh::ladder {

/// z of one element, rounded as it is stored: the statistics are those of the stored z.
__device__ inline float layer_norm_z(float residual, float branch, float bias, float scale) {
  return gpu::widen(gpu::narrow<bf16>(residual + scale * (branch + bias)));
}

static __global__ void layer_norm_thread_per_row_kernel(const LayerNorm p) {
  const std::int64_t row = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= p.rows) return;
  const std::int64_t at = row * p.cols;
  const float scale = p.image_scale[row / p.rows_per_image];
  float sum = 0, squares = 0;
  for (int c = 0; c < p.cols; ++c) {
    const float z = layer_norm_z(gpu::widen(p.residual[at + c]), gpu::widen(p.branch[at + c]),
                                 p.bias[c], scale);
    p.z[at + c] = gpu::narrow<bf16>(z);
    sum += z;
  }
  const float mean = sum / float(p.cols);
  for (int c = 0; c < p.cols; ++c) {
    const float deviation = gpu::widen(p.z[at + c]) - mean;
    squares += deviation * deviation;
  }
  const float rstd = rsqrtf(squares / float(p.cols) + p.eps);
  for (int c = 0; c < p.cols; ++c) {
    const float h = (gpu::widen(p.z[at + c]) - mean) * rstd;
    p.y[at + c] = gpu::narrow<bf16>(h * p.gamma[c] + p.beta[c]);
  }
  p.mean[row] = mean;
  p.rstd[row] = rstd;
}

inline void layer_norm_thread_per_row(const LayerNorm& p, StreamHandle stream) {
  constexpr int kThreads = 128;
  gpu::launch(layer_norm_thread_per_row_kernel, gpu::ceil_div(p.rows, std::int64_t{kThreads}),
              kThreads, 0, stream, p);
}

}  // namespace hh::ladder
