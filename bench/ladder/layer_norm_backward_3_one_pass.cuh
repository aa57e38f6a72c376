// SPDX-License-Identifier: Apache-2.0
// Idea    A warp that has a row in registers has all that the sums need: it goes through many rows
//         and keeps its columns' sums in registers as well.
// Gains   Every array is read once.
// Costs   A warp leaves 3 floats a column, with 8 rows a warp as many bytes, written and read, as
//         one and a half of the five arrays. An access is still 2 bytes a lane.
#pragma once
#include "bench/ladder/layer_norm_backward_2_chunks.cuh"

namespace hh::ladder {

/// Rows first, first + kLayerNormWarps, ... below end, by a warp; sums of its lane's columns, which
/// are 32 apart.
template <int kItems>
__device__ void layer_norm_backward_walk(const LayerNormBackward& p, int lane, std::int64_t first,
                                         std::int64_t end, LayerNormSums (&sums)[kItems]) {
  for (std::int64_t row = first; row < end; row += kLayerNormWarps) {
    const std::int64_t at = row * p.cols;
    LayerNormRow r(p, row);
    float dy[kItems] = {}, h[kItems] = {}, g[kItems] = {}, sum_g = 0, sum_gh = 0;
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      const int c = i * gpu::kWarpSize + lane;
      if (c >= p.cols) continue;
      dy[i] = gpu::widen(p.dy[at + c]);
      h[i] = r.h(gpu::widen(p.z[at + c]));
      g[i] = dy[i] * p.gamma[c];
      sum_g += g[i];
      sum_gh += g[i] * h[i];
    }
    r.mean_g = gpu::warp_sum(sum_g) / float(p.cols);
    r.mean_gh = gpu::warp_sum(sum_gh) / float(p.cols);
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      const int c = i * gpu::kWarpSize + lane;
      if (c >= p.cols) continue;
      const float total = r.gradient(gpu::widen(p.dz[at + c]), g[i], h[i]);
      p.dresidual[at + c] = gpu::narrow<bf16>(total);
      p.dbranch[at + c] = gpu::narrow<bf16>(r.scale * total);
      sums[i].add(r, dy[i], h[i], total);
    }
  }
}

template <int kItems>
__global__ void layer_norm_backward_one_pass_kernel(const LayerNormBackward p,
                                                    const LayerNormPartials partials,
                                                    std::int64_t rows) {
  const int lane = int(threadIdx.x) % gpu::kWarpSize, warp = int(threadIdx.x) / gpu::kWarpSize;
  const std::int64_t begin = blockIdx.x * rows;
  LayerNormSums sums[kItems];
  layer_norm_backward_walk(p, lane, begin + warp, min(begin + rows, p.rows), sums);
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int c = i * gpu::kWarpSize + lane;
    if (c < p.cols) {
      partials.leave(std::int64_t{blockIdx.x} * kLayerNormWarps + warp, p.cols, c, sums[i]);
    }
  }
}

inline std::size_t layer_norm_warp_bytes(const LayerNormBackward& p) {
  return LayerNormPartials::bytes(p, gpu::RowBlocks(p.rows, p.cols).blocks * kLayerNormWarps);
}

inline void layer_norm_backward_one_pass(const LayerNormBackward& p, StreamHandle stream) {
  const gpu::RowBlocks split(p.rows, p.cols);
  const LayerNormPartials partials{static_cast<float*>(p.workspace),
                                   split.blocks * kLayerNormWarps};
  const auto kernel = p.cols <= 128   ? layer_norm_backward_one_pass_kernel<4>
                      : p.cols <= 256 ? layer_norm_backward_one_pass_kernel<8>
                                      : layer_norm_backward_one_pass_kernel<16>;
  gpu::launch(kernel, split.blocks, kLayerNormWarps * gpu::kWarpSize, 0, stream, p, partials,
              split.rows);
  partials.add_up(p, stream);
}

}  // namespace hh::ladder
