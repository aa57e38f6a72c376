// SPDX-License-Identifier: Apache-2.0
// Idea    A thread makes one element of pre and of y: a loop over `in`.
// Gains   Nothing yet; bias and GELU are in the product's kernel already, as in all rungs.
// Costs   Two loads for each multiplication. The threads of a warp have neighbouring columns, whose
//         rows of w are `in` elements apart: each of its loads touches 32 sectors for 2 bytes each.
#pragma once
#include "bench/ladder/linear_gelu_sums.cuh"

namespace hh::ladder {

static __global__ void linear_gelu_thread_per_output_kernel(const LinearGelu p, int across) {
  const TilePlace<8, 32> tile(across);
  const std::int64_t row = tile.row + threadIdx.x / 32;
  const int col = tile.col + int(threadIdx.x) % 32;
  if (row >= p.rows || col >= p.hidden) return;
  float sum = 0;
  for (int i = 0; i < p.in; ++i) {
    sum += gpu::widen(p.x[row * p.in + i]) * gpu::widen(p.weight[std::int64_t{col} * p.in + i]);
  }
  finish_sum(p, row, col, sum);
}

inline void linear_gelu_thread_per_output(const LinearGelu& p, StreamHandle stream) {
  launch_tiles<8, 32>(linear_gelu_thread_per_output_kernel, 8 * 32, 0, p, stream);
}

}  // namespace hh::ladder
