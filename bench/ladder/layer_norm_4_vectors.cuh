// SPDX-License-Identifier: Apache-2.0
// Idea    A lane has packs of 4 neighbouring columns: 8 bytes an access of bf16, 16 of float32.
// Gains   A quarter of the memory instructions for the same bytes.
// Costs   Every warp reads bias, gamma and beta again, in float32 six times the bytes of its row
//         of z, and a row of fewer than 128 columns leaves lanes idle. The product's kernel has 16
//         bytes an access, gives a row as many lanes as it has packs, and a block many rows, for
//         which the parameters wait in shared memory.
#pragma once
#include "bench/ladder/layer_norm_2_warp_per_row.cuh"

namespace hh::ladder {

template <int kItems>  // packs of a lane, 32 * 4 columns apart
__global__ void layer_norm_vectors_kernel(const LayerNorm p) {
  constexpr int kVec = 4;
  const int lane = int(threadIdx.x) % gpu::kWarpSize;
  const std::int64_t row =
      std::int64_t{blockIdx.x} * kLayerNormWarps + threadIdx.x / gpu::kWarpSize;
  if (row >= p.rows) return;
  const std::int64_t at = row * p.cols;
  const float scale = p.image_scale[row / p.rows_per_image];
  float z[kItems][kVec] = {}, sum = 0, squares = 0;
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int c = (i * gpu::kWarpSize + lane) * kVec;
    if (c >= p.cols) continue;
    float branch[kVec], bias[kVec];
    gpu::load_floats(p.residual + at + c, z[i]);
    gpu::load_floats(p.branch + at + c, branch);
    gpu::load_floats(p.bias + c, bias);
#pragma unroll
    for (int k = 0; k < kVec; ++k) {
      z[i][k] = layer_norm_z(z[i][k], branch[k], bias[k], scale);
      sum += z[i][k];
    }
    gpu::store_floats(z[i], p.z + at + c);
  }
  const float mean = gpu::warp_sum(sum) / float(p.cols);
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    if ((i * gpu::kWarpSize + lane) * kVec >= p.cols) continue;
#pragma unroll
    for (int k = 0; k < kVec; ++k) squares += (z[i][k] - mean) * (z[i][k] - mean);
  }
  const float rstd = rsqrtf(gpu::warp_sum(squares) / float(p.cols) + p.eps);
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int c = (i * gpu::kWarpSize + lane) * kVec;
    if (c >= p.cols) continue;
    float gamma[kVec], beta[kVec];
    gpu::load_floats(p.gamma + c, gamma);
    gpu::load_floats(p.beta + c, beta);
#pragma unroll
    for (int k = 0; k < kVec; ++k) z[i][k] = (z[i][k] - mean) * rstd * gamma[k] + beta[k];
    gpu::store_floats(z[i], p.y + at + c);
  }
  if (lane == 0) {
    p.mean[row] = mean;
    p.rstd[row] = rstd;
  }
}

inline void layer_norm_vectors(const LayerNorm& p, StreamHandle stream) {
  const auto kernel = p.cols <= 128   ? layer_norm_vectors_kernel<1>
                      : p.cols <= 256 ? layer_norm_vectors_kernel<2>
                                      : layer_norm_vectors_kernel<4>;
  gpu::launch(kernel, gpu::ceil_div(p.rows, std::int64_t{kLayerNormWarps}),
              kLayerNormWarps * gpu::kWarpSize, 0, stream, p);
}

}  // namespace hh::ladder
