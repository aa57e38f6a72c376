// SPDX-License-Identifier: Apache-2.0
// What all rungs of linear_gelu have in common: the order of tiles, and what becomes of a sum.
#pragma once
#include "bench/ladder/rung.h"
#include "kernels/core/launch.cuh"
#include "kernels/core/mma.cuh"
#include "kernels/linear/gelu.cuh"

namespace hh::ladder {

/// A block for each kRows x kCols, the tiles of a row of tiles one after the other: they share rows
/// of x.
template <int kRows, int kCols>
void launch_tiles(void (*kernel)(LinearGelu, int), int threads, std::size_t bytes,
                  const LinearGelu& p, StreamHandle stream) {
  const int across = gpu::ceil_div(p.hidden, kCols);
  gpu::launch(kernel, gpu::ceil_div(p.rows, std::int64_t{kRows}) * across, threads, bytes, stream,
              p, across);
}
/// Where the block's tile begins.
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
