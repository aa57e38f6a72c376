// SPDX-License-Identifier: Apache-2.0
// Idea    Two kernels: a warp a row for the gradients of residual and branch, then a thread a
//         column, down all rows, for those of gamma, beta and bias.
// Costs   All inputs are read twice. The second kernel has as many threads as columns, and each
//         adds up one chain as long as the matrix.
#pragma once
#include "bench/ladder/layer_norm_2_warp_per_row.cuh"

namespace hh::ladder {

/// What a row's gradient needs: with h = (z - mean) rstd and g = dy gamma it is
/// dz + rstd (g - mean of g - h * mean of g h).
struct LayerNormRow {
  float scale, mean, rstd, mean_g = 0, mean_gh = 0;

  __device__ LayerNormRow(const LayerNormBackward& p, std::int64_t row)
      : scale(p.image_scale[row / p.rows_per_image]), mean(p.mean[row]), rstd(p.rstd[row]) {}
  __device__ float h(float z) const { return (z - mean) * rstd; }
  __device__ float gradient(float dz, float g, float h) const {
    return dz + rstd * (g - mean_g - h * mean_gh);
  }
};

/// The means of g and g h of every row, which the first kernel leaves to the second.
struct LayerNormMeans {
  float *g, *gh;
  explicit LayerNormMeans(const LayerNormBackward& p)
      : g(static_cast<float*>(p.workspace)), gh(g + p.rows) {}
  static std::size_t bytes(const LayerNormBackward& p) {
    return 2 * std::size_t(p.rows) * sizeof(float);
  }
};

static __global__ void layer_norm_backward_rows_kernel(const LayerNormBackward p,
                                                       const LayerNormMeans means) {
  const int lane = int(threadIdx.x) % gpu::kWarpSize;
  const std::int64_t row =
      std::int64_t{blockIdx.x} * kLayerNormWarps + threadIdx.x / gpu::kWarpSize;
  if (row >= p.rows) return;  // a whole warp
  const std::int64_t at = row * p.cols;
  LayerNormRow r(p, row);
  float sum_g = 0, sum_gh = 0;
  for (int c = lane; c < p.cols; c += gpu::kWarpSize) {
    const float g = gpu::widen(p.dy[at + c]) * p.gamma[c];
    sum_g += g;
    sum_gh += g * r.h(gpu::widen(p.z[at + c]));
  }
  r.mean_g = gpu::warp_sum(sum_g) / float(p.cols);
  r.mean_gh = gpu::warp_sum(sum_gh) / float(p.cols);
  for (int c = lane; c < p.cols; c += gpu::kWarpSize) {
    const float g = gpu::widen(p.dy[at + c]) * p.gamma[c], h = r.h(gpu::widen(p.z[at + c]));
    const float total = r.gradient(gpu::widen(p.dz[at + c]), g, h);
    p.dresidual[at + c] = gpu::narrow<bf16>(total);
    p.dbranch[at + c] = gpu::narrow<bf16>(r.scale * total);
  }
  if (lane == 0) {
    means.g[row] = r.mean_g;
    means.gh[row] = r.mean_gh;
  }
}

inline void layer_norm_backward_rows(const LayerNormBackward& p, StreamHandle stream) {
  gpu::launch(layer_norm_backward_rows_kernel, gpu::ceil_div(p.rows, std::int64_t{kLayerNormWarps}),
              kLayerNormWarps * gpu::kWarpSize, 0, stream, p, LayerNormMeans(p));
}

struct LayerNormSums {
  float gamma = 0, beta = 0, bias = 0;

  __device__ void add(const LayerNormRow& r, float dy, float h, float total) {
    gamma += dy * h;
    beta += dy;
    bias += r.scale * total;
  }
};

/// One column's sums over rows [begin, end).
__device__ inline LayerNormSums layer_norm_column(const LayerNormBackward& p,
                                                  const LayerNormMeans& means, int c,
                                                  std::int64_t begin, std::int64_t end) {
  LayerNormSums sums;
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t at = row * p.cols + c;
    LayerNormRow r(p, row);
    r.mean_g = means.g[row];
    r.mean_gh = means.gh[row];
    const float dy = gpu::widen(p.dy[at]), h = r.h(gpu::widen(p.z[at]));
    sums.add(r, dy, h, r.gradient(gpu::widen(p.dz[at]), dy * p.gamma[c], h));
  }
  return sums;
}

constexpr int kLayerNormColumns = 128;  // threads of a block, each with a column

static __global__ void layer_norm_backward_columns_kernel(const LayerNormBackward p,
                                                          const LayerNormMeans means) {
  const int c = int(blockIdx.x) * kLayerNormColumns + int(threadIdx.x);
  if (c >= p.cols) return;
  const LayerNormSums sums = layer_norm_column(p, means, c, 0, p.rows);
  p.dgamma[c] += sums.gamma;
  p.dbeta[c] += sums.beta;
  p.dbias[c] += sums.bias;
}

inline void layer_norm_backward_two_passes(const LayerNormBackward& p, StreamHandle stream) {
  layer_norm_backward_rows(p, stream);
  gpu::launch(layer_norm_backward_columns_kernel, gpu::ceil_div(p.cols, kLayerNormColumns),
              kLayerNormColumns, 0, stream, p, LayerNormMeans(p));
}

}  // namespace hh::ladder
