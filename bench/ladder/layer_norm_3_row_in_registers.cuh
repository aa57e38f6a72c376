// SPDX-License-Identifier: Apache-2.0
// Idea    A lane keeps its columns of z in registers, where both passes of the variance and y
//         find them.
// Gains   z is written, and never read.
// Costs   An access is still 2 bytes a lane: many instructions for few bytes.
#pragma once
#include "bench/ladder/layer_norm_2_warp_per_row.cuh"

namespace hh::ladder {

template <int kItems>  // columns of a lane, 32 apart
__global__ void layer_norm_row_in_registers_kernel(const LayerNorm p) {
  const int lane = int(threadIdx.x) % gpu::kWarpSize;
  const std::int64_t row =
      std::int64_t{blockIdx.x} * kLayerNormWarps + threadIdx.x / gpu::kWarpSize;
  if (row >= p.rows) return;
  const std::int64_t at = row * p.cols;
  const float scale = p.image_scale[row / p.rows_per_image];
  float z[kItems], sum = 0, squares = 0;
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int c = i * gpu::kWarpSize + lane;
    z[i] = 0;
    if (c >= p.cols) continue;
    z[i] = layer_norm_z(gpu::widen(p.residual[at + c]), gpu::widen(p.branch[at + c]), p.bias[c],
                        scale);
    p.z[at + c] = gpu::narrow<bf16>(z[i]);
    sum += z[i];
  }
  const float mean = gpu::warp_sum(sum) / float(p.cols);
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    if (i * gpu::kWarpSize + lane < p.cols) squares += (z[i] - mean) * (z[i] - mean);
  }
  const float rstd = rsqrtf(gpu::warp_sum(squares) / float(p.cols) + p.eps);
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int c = i * gpu::kWarpSize + lane;
    if (c < p.cols) {
      p.y[at + c] = gpu::narrow<bf16>((z[i] - mean) * rstd * p.gamma[c] + p.beta[c]);
    }
  }
  if (lane == 0) {
    p.mean[row] = mean;
    p.rstd[row] = rstd;
  }
}

inline void layer_norm_row_in_registers(const LayerNorm& p, StreamHandle stream) {
  const auto kernel = p.cols <= 128   ? layer_norm_row_in_registers_kernel<4>
                      : p.cols <= 256 ? layer_norm_row_in_registers_kernel<8>
                                      : layer_norm_row_in_registers_kernel<16>;
  gpu::launch(kernel, gpu::ceil_div(p.rows, std::int64_t{kLayerNormWarps}),
              kLayerNormWarps * gpu::kWarpSize, 0, stream, p);
}

}  // namespace hh::ladder
