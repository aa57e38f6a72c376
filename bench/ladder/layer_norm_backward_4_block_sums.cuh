// SPDX-License-Identifier: Apache-2.0
// Idea    The warps of a block add up their sums in shared memory, in order, and leave one row.
// Gains   An eighth of the partial sums to write, and for the last kernel to read.
// Costs   2 bytes a lane and access. The product's kernel has 16, gives a row only as many lanes as
//         it has packs, so that a warp may have several rows, and keeps gamma in shared memory.
#pragma once
#include "bench/ladder/layer_norm_backward_3_one_pass.cuh"

namespace hh::ladder {

template <int kItems>
__global__ void layer_norm_backward_block_sums_kernel(const LayerNormBackward p,
                                                      const LayerNormPartials partials,
                                                      std::int64_t rows) {
  constexpr int kColumns = kItems * gpu::kWarpSize;
  __shared__ float shared[kLayerNormWarps][kColumns];
  const int lane = int(threadIdx.x) % gpu::kWarpSize, warp = int(threadIdx.x) / gpu::kWarpSize;
  const std::int64_t begin = blockIdx.x * rows;
  LayerNormSums sums[kItems];
  layer_norm_backward_walk(p, lane, begin + warp, min(begin + rows, p.rows), sums);
  float* to = partials.at + std::int64_t{blockIdx.x} * 3 * p.cols;
  const auto leave = [&](float LayerNormSums::*which) {
#pragma unroll
    for (int i = 0; i < kItems; ++i) shared[warp][i * gpu::kWarpSize + lane] = sums[i].*which;
    __syncthreads();
    for (int c = int(threadIdx.x); c < p.cols; c += kLayerNormWarps * gpu::kWarpSize) {
      float sum = 0;
#pragma unroll
      for (int w = 0; w < kLayerNormWarps; ++w) sum += shared[w][c];
      to[c] = sum;
    }
    __syncthreads();
    to += p.cols;
  };
  leave(&LayerNormSums::gamma);
  leave(&LayerNormSums::beta);
  leave(&LayerNormSums::bias);
}

inline std::size_t layer_norm_block_bytes(const LayerNormBackward& p) {
  return LayerNormPartials::bytes(p, gpu::RowBlocks(p.rows, p.cols).blocks);
}

inline void layer_norm_backward_block_sums(const LayerNormBackward& p, StreamHandle stream) {
  const gpu::RowBlocks split(p.rows, p.cols);
  const LayerNormPartials partials{static_cast<float*>(p.workspace), split.blocks};
  const auto kernel = p.cols <= 128   ? layer_norm_backward_block_sums_kernel<4>
                      : p.cols <= 256 ? layer_norm_backward_block_sums_kernel<8>
                                      : layer_norm_backward_block_sums_kernel<16>;
  gpu::launch(kernel, split.blocks, kLayerNormWarps * gpu::kWarpSize, 0, stream, p, partials,
              split.rows);
  partials.add_up(p, stream);
}

}  // namespace hh::ladder
