// SPDX-License-Identifier: Apache-2.0
// Sums over the rows of a matrix, such as the gradient of a bias, without atomics: each block
// leaves a row of partial sums in scratch memory, and one small kernel adds those up, in a fixed
// order.
#pragma once
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

/// Partial sums of kArrays parameters of `cols` columns each: block k's of array a begin at
/// partials + (k * kArrays + a) * cols.
template <int kArrays>
struct ColumnSums {
  const float* partials = nullptr;
  std::int64_t blocks = 0;
  int cols = 0;
  float* to[kArrays] = {};  // added to; null: not wanted
};

constexpr int kSumColumns = 32, kSumRows = 32;  // of a block's threads

template <int kArrays>
__global__ void __launch_bounds__(kSumColumns* kSumRows)
    column_sums_kernel(const ColumnSums<kArrays> p) {
  __shared__ float partial[kSumRows][kSumColumns];
  const int c = blockIdx.x * kSumColumns + threadIdx.x;
  // Not p.to[blockIdx.y], for which the compiler would copy the arguments to local memory.
  float* to = p.to[0];
  if constexpr (kArrays > 1) to = blockIdx.y == 1 ? p.to[1] : to;
  if constexpr (kArrays > 2) to = blockIdx.y == 2 ? p.to[2] : to;
  static_assert(kArrays <= 3);
  if (to == nullptr) return;  // the whole block
  float sum = 0;
  if (c < p.cols) {
#pragma unroll 4
    for (std::int64_t k = threadIdx.y; k < p.blocks; k += kSumRows) {
      sum += p.partials[(k * kArrays + blockIdx.y) * p.cols + c];
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

template <int kArrays>
void add_column_sums(const ColumnSums<kArrays>& p, StreamHandle stream) {
  const dim3 grid = grid_of(ceil_div(p.cols, kSumColumns), kArrays);
  column_sums_kernel<kArrays><<<grid, dim3(kSumColumns, kSumRows), 0, stream>>>(p);
  HH_CHECK_LAUNCH(stream);
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

/// sums[c] += sum over r of from[r, c]; `partials` has column_sum_bytes.
template <class T>
void add_column_sums(const T* from, std::int64_t rows, int cols, float* partials, float* sums,
                     StreamHandle stream) {
  if (rows == 0) return;
  const std::int64_t chunks = column_sum_chunks(rows);
  const dim3 grid = grid_of(ceil_div(cols, kColumnSumThreads), chunks);
  column_sum_partials_kernel<<<grid, kColumnSumThreads, 0, stream>>>(from, rows, cols, partials);
  HH_CHECK_LAUNCH(stream);
  add_column_sums<1>({.partials = partials, .blocks = chunks, .cols = cols, .to = {sums}}, stream);
}

}  // namespace hh::gpu
