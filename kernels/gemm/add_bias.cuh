// SPDX-License-Identifier: Apache-2.0
// A bias added to the rows of a matrix in a pass of its own, where no product's epilogue does it.
// A thread has the same 16 bytes of every row of its block, and its share of the bias in registers.
#pragma once
#include "kernels/core/row_groups.cuh"

namespace hh::gpu {

template <class T, int kVec>
__global__ void __launch_bounds__(kRowThreads)
    add_bias_kernel(T* y, const float* bias, std::int64_t rows, int cols, int lanes,
                    std::int64_t rows_per_block) {
  extern __shared__ float4 memory[];
  const ColumnTile<kVec> tile(int(blockIdx.x), lanes, cols);
  const SharedRows<kVec> shared(memory, tile.cols);
  shared.fill(0, bias + tile.first);
  __syncthreads();
  if (!tile.has_columns()) return;
  const int c = tile.first + tile.column;
  float b[kVec];
  shared.load(0, tile.column, b);
  const std::int64_t begin = blockIdx.y * rows_per_block, end = min(begin + rows_per_block, rows);
  for (std::int64_t row = begin + tile.group; row < end; row += tile.groups) {
    float v[kVec];
    load_floats(y + row * cols + c, v);
#pragma unroll
    for (int k = 0; k < kVec; ++k) v[k] += b[k];
    store_floats(v, y + row * cols + c);
  }
}

/// y[r, c] += bias[c], for what the libraries leave to do.
template <class T>
void add_bias(T* y, const float* bias, std::int64_t rows, int cols, StreamHandle stream) {
  const RowBlocks split(rows, cols);
  choose_vector<T>(cols, aligned16(y), [&](auto vec) {
    const int lanes = lanes_of_row(cols, vec, kRowThreads);
    const dim3 grid = grid_of(ceil_div(cols, lanes * vec), split.blocks);
    add_bias_kernel<T, vec()>
        <<<grid, kRowThreads, SharedRows<vec()>::bytes(1, lanes * vec), stream>>>(
            y, bias, rows, cols, lanes, split.rows);
  });
  HH_CHECK_LAUNCH(stream);
}

}  // namespace hh::gpu
