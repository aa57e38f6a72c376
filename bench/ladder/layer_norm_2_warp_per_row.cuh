// SPDX-License-Identifier: Apache-2.0
// Idea    A warp a row: neighbouring lanes have neighbouring columns, and sums go over the warp
//         by shuffles.
// Gains   An access of a warp asks for two whole sectors instead of 32 pieces.
// Costs   z still comes back from memory (or cache) twice.
#pragma once
#include "bench/ladder/layer_norm_1_thread_per_row.cuh"

namespace hh::ladder {

constexpr int kLayerNormWarps = 8;  // of a block, each with a row

static __global__ void layer_norm_warp_per_row_kernel(const LayerNorm p) {
  const int lane = int(threadIdx.x) % gpu::kWarpSize;
  const std::int64_t row =
      std::int64_t{blockIdx.x} * kLayerNormWarps + threadIdx.x / gpu::kWarpSize;
  if (row >= p.rows) return;  // a whole warp
  const std::int64_t at = row * p.cols;
  const float scale = p.image_scale[row / p.rows_per_image];
  float sum = 0, squares = 0;
  for (int c = lane; c < p.cols; c += gpu::kWarpSize) {
    const float z = layer_norm_z(gpu::widen(p.residual[at + c]), gpu::widen(p.branch[at + c]),
                                 p.bias[c], scale);
    p.z[at + c] = gpu::narrow<bf16>(z);
    sum += z;
  }
  const float mean = gpu::warp_sum(sum) / float(p.cols);
  for (int c = lane; c < p.cols; c += gpu::kWarpSize) {
    const float deviation = gpu::widen(p.z[at + c]) - mean;
    squares += deviation * deviation;
  }
  const float rstd = rsqrtf(gpu::warp_sum(squares) / float(p.cols) + p.eps);
  for (int c = lane; c < p.cols; c += gpu::kWarpSize) {
    const float h = (gpu::widen(p.z[at + c]) - mean) * rstd;
    p.y[at + c] = gpu::narrow<bf16>(h * p.gamma[c] + p.beta[c]);
  }
  if (lane == 0) {
    p.mean[row] = mean;
    p.rstd[row] = rstd;
  }
}

inline void layer_norm_warp_per_row(const LayerNorm& p, StreamHandle stream) {
  gpu::launch(layer_norm_warp_per_row_kernel, gpu::ceil_div(p.rows, std::int64_t{kLayerNormWarps}),
              kLayerNormWarps * gpu::kWarpSize, 0, stream, p);
}

}  // namespace hh::ladder
