// SPDX-License-Identifier: Apache-2.0
// Idea    The instruction's columns needn't be neighbours in w: of each 32 columns, pair j of the
//         t-th 8 becomes pair t of the j-th 8, by where w's lines are put in shared memory. So a
//         lane's four pairs are 8 neighbouring columns.
// Gains   pre and y are stored 16 bytes at a time, four lanes to 64 neighbouring ones: whole
//         sectors, an eighth of the instructions, and no exchange between lanes.
// Costs   All blocks store at the end of their tile, where nothing multiplies, and begin with an
//         empty ring. The product's blocks stay for many tiles: the copies of the next tile go on
//         while one is stored, and where a panel of w fits shared memory it stays there too.
#pragma once
#include "bench/ladder/linear_gelu_pipeline.cuh"

namespace hh::ladder {

/// Line 8t + 2j + i of 32 lies at 8j + 2t + i.
struct PairsApart {
  __device__ int operator()(int line) const {
    return line / 32 * 32 + line % 8 / 2 * 8 + line / 8 % 4 * 2 + line % 2;
  }
};

static __global__ void __launch_bounds__(warps::kThreads)
    linear_gelu_wide_stores_kernel(const LinearGelu p, int across) {
  extern __shared__ uint4 memory[];
  const TilePlace<warps::kTile, warps::kTile> tile(across);
  warps::Sums sums = {};
  warps::pipelined_sums(p, tile, gpu::shared_address(memory), PairsApart(), sums);
  const warps::Warp warp;
  const int col = tile.col + warp.col + warp.lane % 4 * 8;
  if (col >= p.hidden) return;
  float bias[8];
  gpu::load_floats(p.bias + col, bias);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const std::int64_t row = tile.row + warp.row + i * 16 + half * 8 + warp.lane / 4;
      if (row >= p.rows) continue;
      float v[8];
#pragma unroll
      for (int k = 0; k < 8; ++k) v[k] = sums[i][k / 2][half * 2 + k % 2];
      gpu::store_floats(v, p.pre + row * p.hidden + col);
#pragma unroll
      for (int k = 0; k < 8; ++k) v[k] = gpu::gelu(v[k] + bias[k]);
      gpu::store_floats(v, p.y + row * p.hidden + col);
    }
  }
}

inline void linear_gelu_wide_stores(const LinearGelu& p, StreamHandle stream) {
  launch_tiles<warps::kTile, warps::kTile>(linear_gelu_wide_stores_kernel, warps::kThreads,
                                           warps::kPipelineBytes, p, stream);
}

}  // namespace hh::ladder
