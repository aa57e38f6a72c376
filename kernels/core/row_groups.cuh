// SPDX-License-Identifier: Apache-2.0
// How the threads of a block share the rows of a matrix [rows, cols], for kernels that keep a row,
// or a few columns of it, in registers.
#pragma once
#include <algorithm>
#include <bit>
#include <type_traits>

#include "kernels/core/device.cuh"

namespace hh::gpu {

constexpr int kRowThreads = 256;
constexpr std::int64_t kMostBlocks = 4 * 132;  // four for each multiprocessor of an H100, at once

/// Rows per block and the number of blocks, by the sizes alone: sums over the rows of a block must
/// not depend on the GPU. At least `least_rows`, so that the parameters that a block reads, and the
/// partial sums that it leaves, weigh little beside them; at most kMostBlocks blocks.
struct RowBlocks {
  std::int64_t rows = 0;    // per block
  std::int64_t blocks = 0;  // 0 without rows

  RowBlocks(std::int64_t all_rows, std::int64_t cols, std::int64_t least_rows = 32) {
    const std::int64_t unit = std::max(least_rows, 4096 / cols);
    rows = unit * std::max<std::int64_t>(1, ceil_div(all_rows, unit * kMostBlocks));
    blocks = ceil_div(all_rows, rows);
  }
};

template <int kValue>
using Constant = std::integral_constant<int, kValue>;

/// Calls launch(Constant<kVec>): whole vectors where they divide a row and all arrays are aligned.
template <class T, class F>
void choose_vector(int cols, bool aligned, F launch) {
  if (aligned && cols % kVector<T> == 0) return launch(Constant<kVector<T>>());
  launch(Constant<1>());
}

/// Threads that share a row: a power of two, so that xor shuffles stay among them.
inline int lanes_of_row(int cols, int columns_per_lane, int most) {
  return std::min(most, int(std::bit_ceil(unsigned(ceil_div(cols, columns_per_lane)))));
}

template <class... Pointers>
bool all_aligned16(Pointers... pointers) {
  return (aligned16(pointers) && ...);
}

/// Rows of floats in shared memory, for threads that access kVec neighbouring columns each. With
/// kVec = 8 the two halves of every 32 bytes lie far apart, so that neighbouring threads access
/// neighbouring 16 bytes, without bank conflicts; reading column by column has none either.
template <int kVec>
class SharedRows {
  static_assert(kVec == 1 || kVec == 4 || kVec == 8);

 public:
  __device__ SharedRows(float4* memory, int cols)
      : memory_(memory), cols_(cols), half_(half(cols)), pitch_(pitch(cols)) {}

  static std::size_t bytes(int rows, int cols) {
    return sizeof(float) * std::size_t(rows) * std::size_t(pitch(cols));
  }
  __device__ int cols() const { return cols_; }
  __device__ float& at(int row, int c) const {
    const unsigned u = unsigned(c);  // dividing a signed number takes three more instructions
    const unsigned place = kVec == 8 ? (u / 4 % 2) * unsigned(half_) + u / 8 * 4 + u % 4 : u;
    return reinterpret_cast<float*>(memory_)[unsigned(row * pitch_) + place];
  }

  /// Copies a row from global memory; null leaves zeros. For all threads of the block, which must
  /// synchronise afterwards.
  __device__ void fill(int row, const float* from) const {
    for (int c = threadIdx.x; c < cols_; c += kRowThreads) {
      at(row, c) = from != nullptr ? from[c] : 0.0f;
    }
  }
  /// Columns c .. c + kVec - 1; c is a multiple of kVec.
  __device__ void load(int row, int c, float (&to)[kVec]) const {
    if constexpr (kVec == 1) {
      to[0] = at(row, c);
    } else {
#pragma unroll
      for (int k = 0; k < kVec; k += 4) {
        const float4 v = vector4(row, c, k);
        to[k] = v.x, to[k + 1] = v.y, to[k + 2] = v.z, to[k + 3] = v.w;
      }
    }
  }
  __device__ void store(int row, int c, const float (&from)[kVec]) const {
    if constexpr (kVec == 1) {
      at(row, c) = from[0];
    } else {
#pragma unroll
      for (int k = 0; k < kVec; k += 4) {
        vector4(row, c, k) = make_float4(from[k], from[k + 1], from[k + 2], from[k + 3]);
      }
    }
  }

 private:
  /// Columns c + k .. c + k + 3, k = 0 or 4. Counted in float4, so that the compiler sees that they
  /// are aligned.
  __device__ float4& vector4(int row, int c, int k) const {
    return memory_[unsigned(row) * (unsigned(pitch_) / 4) +
                   unsigned(k) / 4 * (unsigned(half_) / 4) + unsigned(c) / kVec];
  }
  /// Where the second halves begin: an odd multiple of 16 floats, so that they have the other
  /// banks. Short rows do without, lest a block's many rows need more memory than it may have.
  __host__ __device__ static int half(int cols) {
    return cols < 32 ? cols / 2 : (cols / 2 + 15) / 32 * 32 + 16;
  }
  __host__ __device__ static int pitch(int cols) {
    return kVec != 8 || cols < 32 ? cols : 2 * half(cols) + 16;
  }

  float4* memory_;
  int cols_, half_, pitch_;  // in floats
};

/// A thread's columns, the same in every row: `lanes` threads with kVec neighbouring columns each
/// make up a tile of a row, and the block has `groups` of them for as many rows at a time.
template <int kVec>
struct ColumnTile {
  int first, cols;  // of the tile in the row
  int column;       // of the thread in the tile
  int group, groups;

  __device__ ColumnTile(int tile, int lanes, int all_cols)
      : first(tile * lanes * kVec),
        cols(min(lanes * kVec, all_cols - first)),
        column((int(threadIdx.x) & (lanes - 1)) * kVec),
        group(int(threadIdx.x) / lanes),
        groups(kRowThreads / lanes) {}
  __device__ bool has_columns() const { return column < cols; }
};

}  // namespace hh::gpu
