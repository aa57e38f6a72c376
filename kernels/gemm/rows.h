// SPDX-License-Identifier: Apache-2.0
// Row-wise helpers that linear and conv2d share. Private to the CPU kernels.
#pragma once
#include <cstdint>

#include "kernels/core/half.h"

namespace hh::cpu {

/// to[i] = from[i] as float32, and back with rounding. In parallel.
void widen(const bf16* from, std::int64_t n, float* to);
void narrow(const float* from, std::int64_t n, bf16* to);

/// Column sums are made of blocks of this many rows, each summed in order, then added up in order:
/// the same bits for any number of threads, whoever sums the blocks.
constexpr std::int64_t kBlockRows = 64;
constexpr std::int64_t row_blocks(std::int64_t rows) {
  return (rows + kBlockRows - 1) / kBlockRows;
}

/// sums[c] = sum of the rows of column c of a [rows, cols], in order, in the calling thread.
template <class T>
void column_sums(const T* a, std::int64_t rows, int cols, float* sums);

/// into[c] += sum_r a[r,c]. partials: [row_blocks(rows), cols] of scratch. In parallel.
template <class T>
void add_column_sums(const T* a, std::int64_t rows, int cols, float* partials, float* into);

/// into[i] += sum_p partials[p*n + i], in order of p. In parallel.
void add_partials(const float* partials, std::int64_t parts, std::int64_t n, float* into);

}  // namespace hh::cpu
