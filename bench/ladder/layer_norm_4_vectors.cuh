// Idea    16 bytes an access: a lane has packs of 8 neighbouring columns.
// Gains   An eighth of the memory instructions for the same bytes.
// Costs   A row of 128 columns is 16 packs: half of the warp idles. Every warp reads bias,
//         gamma and beta again, in float32 six times the bytes of its row of z. The product's
//         kernel gives a row as many lanes as it has packs, and a block many rows, for which
//         the parameters wait in shared memory.
#pragma once
#include "bench/ladder/layer_norm_2_warp_per_row.cuh"

namespace hh::ladder {

template <int kItems>  // packs of a lane, 32 * 8 columns apart
__global__ void layer_norm_vectors_kernel(const LayerNorm p) {
  constexpr int kVec = gpu::kVector<bf16>;
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
#pragma unroll
    for (int k = 0; k < kVec; ++k) bias[k] = p.bias[c + k];
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
#pragma unroll
    for (int k = 0; k < kVec; ++k) {
      z[i][k] = (z[i][k] - mean) * rstd * p.gamma[c + k] + p.beta[c + k];
    }
    gpu::store_floats(z[i], p.y + at + c);
  }
  if (lane == 0) {
    p.mean[row] = mean;
    p.rstd[row] = rstd;
  }
}

inline void layer_norm_vectors(const LayerNorm& p, StreamHandle stream) {
  const auto kernel = p.cols <= 256 ? layer_norm_vectors_kernel<1> : layer_norm_vectors_kernel<2>;
  gpu::launch(kernel, gpu::ceil_div(p.rows, std::int64_t{kLayerNormWarps}),
              kLayerNormWarps * gpu::kWarpSize, 0, stream, p);
}

}  // namespace hh::ladder
