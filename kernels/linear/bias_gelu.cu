// SPDX-License-Identifier: Apache-2.0
// Mapping   A thread has the same 16 bytes of every row, and its share of the bias, and of the
//           bias's gradient, in registers; a block goes through neighbouring rows.
// Traffic   x is read and y written once; backward reads x and dy and writes dx. Per block and
//           column one float of the bias and one partial sum.
// Numerics  float32, see gelu.cuh.
#include "kernels/core/column_sum.cuh"
#include "kernels/linear/bias_gelu.h"
#include "kernels/linear/gelu.cuh"

namespace hh::gpu {
namespace {

template <class T, int kVec>
__global__ void __launch_bounds__(kRowThreads)
    bias_gelu_forward_kernel(const BiasGeluForward<T> p, int lanes, std::int64_t rows_per_block) {
  extern __shared__ float4 memory[];
  const ColumnTile<kVec> tile(int(blockIdx.x), lanes, p.cols);
  const SharedRows<kVec> shared(memory, tile.cols);
  shared.fill(0, p.bias + tile.first);
  __syncthreads();
  if (!tile.has_columns()) return;
  float bias[kVec];
  shared.load(0, tile.column, bias);
  const std::int64_t begin = blockIdx.y * rows_per_block, end = min(begin + rows_per_block, p.rows);
  for (std::int64_t row = begin + tile.group; row < end; row += tile.groups) {
    const std::int64_t at = row * p.cols + tile.first + tile.column;
    float v[kVec];
    load_floats(p.x + at, v);
#pragma unroll
    for (int k = 0; k < kVec; ++k) v[k] = gelu(v[k] + bias[k]);
    store_floats(v, p.y + at);
  }
}

template <class T, int kVec>
__global__ void __launch_bounds__(kRowThreads)
    bias_gelu_backward_kernel(const BiasGeluBackward<T> p, int lanes, std::int64_t rows_per_block,
                              float* partials) {
  extern __shared__ float4 memory[];
  const ColumnTile<kVec> tile(int(blockIdx.x), lanes, p.cols);
  const SharedRows<kVec> shared(memory, tile.cols);
  shared.fill(0, p.bias + tile.first);
  __syncthreads();
  float bias[kVec], dbias[kVec] = {};
  if (tile.has_columns()) {
    shared.load(0, tile.column, bias);
    const std::int64_t begin = blockIdx.y * rows_per_block;
    const std::int64_t end = min(begin + rows_per_block, p.rows);
    for (std::int64_t row = begin + tile.group; row < end; row += tile.groups) {
      const std::int64_t at = row * p.cols + tile.first + tile.column;
      float x[kVec], g[kVec];
      load_floats(p.x + at, x);
      load_floats(p.dy + at, g);
#pragma unroll
      for (int k = 0; k < kVec; ++k) {
        g[k] *= gelu_slope(x[k] + bias[k]);
        dbias[k] += g[k];
      }
      store_floats(g, p.dx + at);
    }
  }
  __syncthreads();  // the bias has been read
  if (tile.has_columns()) shared.store(tile.group, tile.column, dbias);
  sum_shared_rows(shared, tile.groups, partials + std::int64_t{blockIdx.y} * p.cols + tile.first);
}

}  // namespace

template <class T>
void run(const BiasGeluForward<T>& p, StreamHandle stream) {
  p.validate();
  const RowBlocks split(p.rows, p.cols, 8);  // no sums to leave, so blocks may be smaller
  if (split.blocks == 0) return;
  choose_vector<T>(p.cols, all_aligned16(p.x, p.y), [&](auto vec) {
    const int lanes = lanes_of_row(p.cols, vec, kRowThreads), tile = lanes * vec;
    const dim3 grid = grid_of(ceil_div(p.cols, tile), split.blocks);
    bias_gelu_forward_kernel<T, vec()>
        <<<grid, kRowThreads, SharedRows<vec()>::bytes(1, tile), stream>>>(p, lanes, split.rows);
  });
  HH_CHECK_LAUNCH(stream);
}

template <class T>
void run(const BiasGeluBackward<T>& p, StreamHandle stream) {
  p.validate();
  const RowBlocks split(p.rows, p.cols);
  if (split.blocks == 0) return;
  float* const partials = rows_of_sums(p.left, p.workspace);
  choose_vector<T>(p.cols, all_aligned16(p.x, p.dy, p.dx), [&](auto vec) {
    const int lanes = lanes_of_row(p.cols, vec, kRowThreads), tile = lanes * vec;
    const dim3 grid = grid_of(ceil_div(p.cols, tile), split.blocks);
    bias_gelu_backward_kernel<T, vec()>
        <<<grid, kRowThreads, SharedRows<vec()>::bytes(kRowThreads / lanes, tile), stream>>>(
            p, lanes, split.rows, partials);
  });
  HH_CHECK_LAUNCH(stream);
  finish_sums({.rows = partials, .count = split.blocks, .cols = p.cols, .to = {p.dbias}}, p.left,
              stream);
}

template <class T>
std::size_t partial_sums_bytes(const BiasGeluBackward<T>& p) {
  return std::size_t(RowBlocks(p.rows, p.cols).blocks) * std::size_t(p.cols) * sizeof(float);
}
template <class T>
std::size_t workspace_bytes(const BiasGeluBackward<T>& p) {
  return p.left != nullptr ? 0 : partial_sums_bytes(p);
}

template void run(const BiasGeluForward<float>&, StreamHandle);
template void run(const BiasGeluForward<bf16>&, StreamHandle);
template void run(const BiasGeluForward<f16>&, StreamHandle);
template void run(const BiasGeluBackward<float>&, StreamHandle);
template void run(const BiasGeluBackward<bf16>&, StreamHandle);
template void run(const BiasGeluBackward<f16>&, StreamHandle);
template std::size_t workspace_bytes(const BiasGeluBackward<float>&);
template std::size_t partial_sums_bytes(const BiasGeluBackward<float>&);
template std::size_t workspace_bytes(const BiasGeluBackward<bf16>&);
template std::size_t partial_sums_bytes(const BiasGeluBackward<bf16>&);
template std::size_t workspace_bytes(const BiasGeluBackward<f16>&);
template std::size_t partial_sums_bytes(const BiasGeluBackward<f16>&);

}  // namespace hh::gpu
