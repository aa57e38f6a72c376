// SPDX-License-Identifier: Apache-2.0
// Sums over the rows of a matrix, such as the gradient of a bias, without atomics: each block
// leaves a row of partial sums in scratch memory, and one small kernel adds those up, of one op or
// of many, in a fixed order.
#pragma once
#include "kernels/core/partial_sums.h"
#include "kernels/core/row_groups.cuh"

namespace hh::gpu {

/// Adds up the first `rows` rows of `shared` into to[0 .. cols). For all threads of the block, each
/// of which has stored its share; afterwards the rows may be written again.
template <int kVec>
__device__ void sum_shared_rows(const SharedRows<kVec>& shared, int rows, float* to) {
  __syncthreads();
  for (int c = threadIdx.x; c < shared.cols(); c += kRowThreads) {
    float sum = 0;
    for (int r = 0; r < rows; ++r) sum += shared.at(r, c);
    to[c] = sum;
  }
  __syncthreads();
}

constexpr int kSumColumns = 32, kSumRows = 32;  // of a block's threads

/// Sums of up to kMost ops, and each one's first block: 32 columns of an array are a block's.
template <int kMost>
struct SumsInOneLaunch {
  PartialSums sums[kMost];
  unsigned first_block[kMost];
  int count = 0;
};

template <int kMost>
__global__ void __launch_bounds__(kSumColumns* kSumRows)
    partial_sums_kernel(const __grid_constant__ SumsInOneLaunch<kMost> all) {
  static_assert((kMost & (kMost - 1)) == 0);
  __shared__ float partial[kSumRows][kSumColumns];
  int op = 0;  // the last whose first block is at or before this one
  for (int step = kMost / 2; step > 0; step /= 2) {
    if (op + step < all.count && all.first_block[op + step] <= blockIdx.x) op += step;
  }
  const PartialSums& p = all.sums[op];
  const unsigned tiles = unsigned(p.cols + kSumColumns - 1) / kSumColumns;
  const unsigned block = blockIdx.x - all.first_block[op], array = block / tiles;
  float* const to = p.to[array];
  if (to == nullptr) return;  // the whole block
  const int c = int(block - array * tiles) * kSumColumns + int(threadIdx.x);
  float sum = 0;
  if (c < p.cols) {
#pragma unroll 4
    for (std::int64_t k = threadIdx.y; k < p.count; k += kSumRows) {
      sum += p.rows[(k * p.arrays + array) * p.cols + c];
    }
  }
  partial[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || c >= p.cols) return;
  sum = to[c];
#pragma unroll
  for (int k = 0; k < kSumRows; ++k) sum += partial[k][threadIdx.x];
  to[c] = sum;
}

/// No two may add to the same array. The bits don't depend on what shares the launch.
template <int kMost>
void add_partial_sums(const PartialSums* sums, int count, StreamHandle stream) {
  for (int first = 0; first < count; first += kMost) {
    SumsInOneLaunch<kMost> all;
    std::int64_t blocks = 0;
    for (int i = first; i < std::min(count, first + kMost); ++i) {
      if (sums[i].count == 0) continue;
      all.sums[all.count] = sums[i];
      all.first_block[all.count++] = unsigned(blocks);
      blocks += ceil_div(sums[i].cols, kSumColumns) * sums[i].arrays;
    }
    if (blocks == 0) continue;
    partial_sums_kernel<kMost><<<grid_of(blocks), dim3(kSumColumns, kSumRows), 0, stream>>>(all);
    HH_CHECK_LAUNCH(stream);
  }
}

/// Where an op's rows go: to whom it leaves them, or to scratch memory of its own.
inline float* rows_of_sums(const PartialSums* left, void* own) {
  return left != nullptr ? left->rows : static_cast<float*>(own);
}
/// Leaves an op's sums as its caller asked, or adds them.
inline void finish_sums(const PartialSums& sums, PartialSums* left, StreamHandle stream) {
  if (left != nullptr) {
    *left = sums;
  } else {
    add_partial_sums<1>(&sums, 1, stream);
  }
}

// The rows themselves, where no kernel has left partial sums on the way.

constexpr int kColumnSumThreads = 128;
constexpr std::int64_t kColumnSumChunks = 128;  // partial sums per column at most

inline std::int64_t column_sum_chunks(std::int64_t rows) {
  return std::clamp<std::int64_t>(ceil_div(rows, 64), 1, kColumnSumChunks);
}

/// Scratch bytes for the sums over the rows of a matrix.
inline std::size_t column_sum_bytes(std::int64_t rows, int cols) {
  return std::size_t(column_sum_chunks(rows)) * std::size_t(cols) * sizeof(float);
}

template <class T>
__global__ void __launch_bounds__(kColumnSumThreads)
    column_sum_partials_kernel(const T* from, std::int64_t rows, int cols, float* partials) {
  const int c = int(blockIdx.x) * kColumnSumThreads + int(threadIdx.x);
  if (c >= cols) return;
  const std::int64_t chunk = blockIdx.y, chunks = gridDim.y;
  float sum = 0;
  for (std::int64_t r = rows * chunk / chunks; r < rows * (chunk + 1) / chunks; ++r) {
    sum += widen(from[r * cols + c]);
  }
  partials[chunk * cols + c] = sum;
}

/// The partial sums over r of from[r, c] in `rows`, which has column_sum_bytes, for to[c].
template <class T>
PartialSums column_partial_sums(const T* from, std::int64_t rows_of_from, int cols, float* rows,
                                float* to, StreamHandle stream) {
  if (rows_of_from == 0) return {};
  const std::int64_t chunks = column_sum_chunks(rows_of_from);
  const dim3 grid = grid_of(ceil_div(cols, kColumnSumThreads), chunks);
  column_sum_partials_kernel<<<grid, kColumnSumThreads, 0, stream>>>(from, rows_of_from, cols,
                                                                     rows);
  HH_CHECK_LAUNCH(stream);
  return {.rows = rows, .count = chunks, .cols = cols, .to = {to}};
}

}  // namespace hh::gpu
