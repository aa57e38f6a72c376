// Row-wise helpers that linear and conv2d share. Private to the CPU kernels.
#pragma once
#include <cstdint>

#include "kernels/core/half.h"

namespace hh::cpu {

/// to[i] = from[i] as float32, and back with rounding. In parallel.
void widen(const bf16* from, std::int64_t n, float* to);
void narrow(const float* from, std::int64_t n, bf16* to);

/// sums[c] = sum of rows [begin, end) of column c of a [*, cols], in the calling thread.
template <class T>
void column_sums(const T* a, std::int64_t begin, std::int64_t end, int cols, float* sums);

/// into[c] += sum_r a[r,c]: `chunks` parts of the rows, partials [chunks, cols] of scratch, added
/// up in order, so the same bits for any number of threads. In parallel.
template <class T>
void add_column_sums(const T* a, std::int64_t rows, int cols, std::int64_t chunks, float* partials,
                     float* into);

/// into[i] += sum_p partials[p*n + i], in order of p. In parallel.
void add_partials(const float* partials, std::int64_t parts, std::int64_t n, float* into);

}  // namespace hh::cpu
