// SPDX-License-Identifier: Apache-2.0
// Idea    A block has 32 x 32 outputs. It brings 32 columns of its rows of x and w to shared memory
//         at a time; there each element serves 32 threads.
// Gains   A thirty-second of the loads from global memory, all of whole sectors: a warp reads 32
//         neighbouring elements of a row.
// Costs   Still two loads, from shared memory, for each multiplication, and two barriers a step.
#pragma once
#include "bench/ladder/linear_gelu_sums.cuh"

namespace hh::ladder {

constexpr int kSide = 32;

static __global__ void linear_gelu_shared_tiles_kernel(const LinearGelu p, int across) {
  __shared__ float x[kSide][kSide], w[kSide][kSide + 1];  // + 1: a warp reads a column of w
  const TilePlace<kSide, kSide> tile(across);
  const int i = int(threadIdx.x) / kSide, j = int(threadIdx.x) % kSide;
  const std::int64_t x_row = tile.row + i;
  const int w_row = tile.col + i;
  float sum = 0;
  for (int first = 0; first < p.in; first += kSide) {
    const bool inside = first + j < p.in;
    __syncthreads();
    x[i][j] = inside && x_row < p.rows ? gpu::widen(p.x[x_row * p.in + first + j]) : 0;
    w[i][j] = inside && w_row < p.hidden
                  ? gpu::widen(p.weight[std::int64_t{w_row} * p.in + first + j])
                  : 0;
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kSide; ++k) sum += x[i][k] * w[j][k];
  }
  finish_sum(p, x_row, tile.col + j, sum);
}

inline void linear_gelu_shared_tiles(const LinearGelu& p, StreamHandle stream) {
  launch_tiles<kSide, kSide>(linear_gelu_shared_tiles_kernel, kSide * kSide, 0, p, stream);
}

}  // namespace hh::ladder
