// SPDX-License-Identifier: Apache-2.0
// What all rungs of linear_gelu have in common: the order of tiles, and what becomes of a sum.
#pragma once
#include "bench/ladder/rung.h"
#include "kernels/core/launch.cuh"
#include "kernels/core/mma.cuh"
#include "kernels/linear/gelu.cuh"

namespace hh::ladder {

/// Of kRows x kCols each, the tiles of a row of tiles one after the other: they share rows of x.
template <int kRows, int kCols>
struct TileGrid {
  explicit TileGrid(const LinearGelu& p)
      : across(gpu::ceil_div(p.hidden, kCols)),
        blocks(gpu::ceil_div(p.rows, std::int64_t{kRows}) * across) {}
  int across;
  std::int64_t blocks;
};
template <int kRows, int kCols>
struct TilePlace {
  __device__ explicit TilePlace(int across)
      : row(std::int64_t{blockIdx.x} / across * kRows), col(int(blockIdx.x) % across * kCols) {}
  std::int64_t row;
  int col;
};

__device__ inline void finish_sum(const LinearGelu& p, std::int64_t row, int col, float sum) {
  if (row >= p.rows || col >= p.hidden) return;
  p.pre[row * p.hidden + col] = gpu::narrow<bf16>(sum);
  p.y[row * p.hidden + col] = gpu::narrow<bf16>(gpu::gelu(sum + p.bias[col]));
}

}  // namespace hh::ladder
