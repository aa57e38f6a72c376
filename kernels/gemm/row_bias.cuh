// SPDX-License-Identifier: Apache-2.0
// A bias on the rows of a matrix in a pass of its own, where no product's epilogue does it. A
// thread has the same 16 bytes of every row of its block, and its share of the bias in registers.
#pragma once
#include "kernels/core/row_groups.cuh"

namespace hh::gpu {

template <class T, int kVec, bool kAdd>
__global__ void __launch_bounds__(kRowThreads)
    row_bias_kernel(T* y, const T* bias, std::int64_t rows, int cols, int lanes,
                    std::int64_t rows_per_block) {
  const ColumnTile<kVec> tile(int(blockIdx.x), lanes, cols);
  if (!tile.has_columns()) return;
  const int c = tile.first + tile.column;
  float b[kVec];
  load_floats(bias + c, b);
  const std::int64_t begin = blockIdx.y * rows_per_block, end = min(begin + rows_per_block, rows);
  for (std::int64_t row = begin + tile.group; row < end; row += tile.groups) {
    float v[kVec] = {};
    if constexpr (kAdd) load_floats(y + row * cols + c, v);
#pragma unroll
    for (int k = 0; k < kVec; ++k) v[k] += b[k];
    store_floats(v, y + row * cols + c);
  }
}

template <bool kAdd, class T>
void row_bias(T* y, const T* bias, std::int64_t rows, int cols, StreamHandle stream) {
  const RowBlocks split(rows, cols);
  choose_vector<T>(cols, aligned16(y) && aligned16(bias), [&](auto vec) {
    const int lanes = lanes_of_row(cols, vec, kRowThreads);
    const dim3 grid = grid_of(ceil_div(cols, lanes * vec), split.blocks);
    row_bias_kernel<T, vec(), kAdd>
        <<<grid, kRowThreads, 0, stream>>>(y, bias, rows, cols, lanes, split.rows);
  });
  HH_CHECK_LAUNCH(stream);
}

/// y[r, c] += bias[c]
template <class T>
void add_bias(T* y, const T* bias, std::int64_t rows, int cols, StreamHandle stream) {
  row_bias<true>(y, bias, rows, cols, stream);
}

/// y[r, c] = bias[c], to which a product is then added.
template <class T>
void fill_with_bias(T* y, const T* bias, std::int64_t rows, int cols, StreamHandle stream) {
  row_bias<false>(y, bias, rows, cols, stream);
}

}  // namespace hh::gpu
