// SPDX-License-Identifier: Apache-2.0
// Idea    A thread has 8 x 8 of a block's 128 x 128 outputs, in registers. Of each column of x and w
//         it loads 8 elements each, for 64 multiplications.
// Gains   A quarter of a load for each multiplication, where rung 2 has two, and four of them are
//         one instruction; a quarter of rung 2's traffic from global memory.
// Costs   Some 100 registers, so few warps. Storing a step's lines as columns has conflicts. And the
//         multiplications themselves: float32 units make a fifteenth of what tensor cores do.
#pragma once
#include "bench/ladder/linear_gelu_sums.cuh"

namespace hh::ladder {

namespace register_tiles {

constexpr int kTile = 128, kStep = 16, kEach = 8, kThreads = (kTile / kEach) * (kTile / kEach);
using Columns = float[kStep][kTile + 4];  // [of `in`][row of x or w]; + 4: float4 stay aligned

/// 128 lines x 16 elements, of which a thread brings 8; zeros past the end.
__device__ inline void bring(const bf16* matrix, std::int64_t first_line, std::int64_t lines,
                             int first, int in, Columns& to) {
  const int line = int(threadIdx.x) % kTile, part = int(threadIdx.x) / kTile * 8;
  float values[8] = {};
  if (first_line + line < lines && first + part < in) {
    gpu::load_floats(matrix + (first_line + line) * in + first + part, values);
  }
#pragma unroll
  for (int k = 0; k < 8; ++k) to[part + k][line] = values[k];
}

/// Two runs of 4, 64 apart: so the threads of a warp read neighbouring 16 bytes.
__device__ inline int place(int thread, int k) { return k / 4 * (kTile / 2) + thread * 4 + k % 4; }

__device__ inline void take(const float* line, int thread, float (&to)[kEach]) {
  *reinterpret_cast<float4*>(to) = *reinterpret_cast<const float4*>(line + place(thread, 0));
  *reinterpret_cast<float4*>(to + 4) = *reinterpret_cast<const float4*>(line + place(thread, 4));
}

static __global__ void __launch_bounds__(kThreads)
    linear_gelu_register_tiles_kernel(const LinearGelu p, int across) {
  __shared__ alignas(16) Columns x, w;
  const TilePlace<kTile, kTile> tile(across);
  const int i = int(threadIdx.x) / 16, j = int(threadIdx.x) % 16;
  float sums[kEach][kEach] = {};
  for (int first = 0; first < p.in; first += kStep) {
    __syncthreads();
    bring(p.x, tile.row, p.rows, first, p.in, x);
    bring(p.weight, tile.col, p.hidden, first, p.in, w);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kStep; ++k) {
      alignas(16) float a[kEach], b[kEach];
      take(x[k], i, a);
      take(w[k], j, b);
#pragma unroll
      for (int m = 0; m < kEach; ++m) {
#pragma unroll
        for (int n = 0; n < kEach; ++n) sums[m][n] += a[m] * b[n];
      }
    }
  }
#pragma unroll
  for (int m = 0; m < kEach; ++m) {
#pragma unroll
    for (int n = 0; n < kEach; ++n) {
      finish_sum(p, tile.row + place(i, m), tile.col + place(j, n), sums[m][n]);
    }
  }
}

}  // namespace register_tiles

inline void linear_gelu_register_tiles(const LinearGelu& p, StreamHandle stream) {
  using namespace register_tiles;
  launch_tiles<kTile, kTile>(linear_gelu_register_tiles_kernel, kThreads, 0, p, stream);
}

}  // namespace hh::ladder
