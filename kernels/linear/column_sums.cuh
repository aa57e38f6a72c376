// sums[c] += sum over r of rows[r, c], in an order fixed by the sizes.
#pragma once
#include <algorithm>

#include "kernels/core/device.cuh"

namespace hh::gpu {

constexpr int kColumnSumChunks = 128;  // partial sums per column at most
constexpr int kColumnSumThreads = 128;

inline int column_sum_chunks(std::int64_t rows) {
  return int(std::clamp<std::int64_t>(ceil_div(rows, 64), 1, kColumnSumChunks));
}

/// Scratch bytes for add_column_sums.
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

inline __global__ void __launch_bounds__(kColumnSumThreads)
    column_sum_total_kernel(const float* partials, int chunks, int cols, float* sums) {
  const int c = int(blockIdx.x) * kColumnSumThreads + int(threadIdx.x);
  if (c >= cols) return;
  float sum = 0;
  for (int chunk = 0; chunk < chunks; ++chunk) sum += partials[std::int64_t{chunk} * cols + c];
  sums[c] += sum;
}

template <class T>
void add_column_sums(const T* from, std::int64_t rows, int cols, float* partials, float* sums,
                     StreamHandle stream) {
  if (rows == 0) return;
  const int chunks = column_sum_chunks(rows);
  const unsigned blocks = unsigned(ceil_div(cols, kColumnSumThreads));
  column_sum_partials_kernel<<<dim3(blocks, unsigned(chunks)), kColumnSumThreads, 0, stream>>>(
      from, rows, cols, partials);
  HH_CHECK_LAUNCH(stream);
  column_sum_total_kernel<<<blocks, kColumnSumThreads, 0, stream>>>(partials, chunks, cols, sums);
  HH_CHECK_LAUNCH(stream);
}

}  // namespace hh::gpu
