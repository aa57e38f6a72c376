// SPDX-License-Identifier: Apache-2.0
// Products of float32 matrices on CPUs, shared out to the team's threads. Row-major and dense:
//
//   c[i,j] = bias[j] + sum_k a[i,k] b[j,k]
//
// b is stored by output, as the weights of a layer are. A sum is taken in order of k, in parts whose size
// depends on k and the instructions in use: the same bits for any number of threads, and for a row whatever rows are beside it.
// Private to the CPU kernels.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/core/function_ref.h"

namespace hh::cpu {

struct WideProduct {
  std::int64_t m = 0, n = 0, k = 0;
  const float* a = nullptr;       // [m,k]
  const float* b = nullptr;       // [n,k]; not read where it is packed
  const float* packed = nullptr;  // of pack_factor(), or null
  const float* bias = nullptr;    // [n], or null for 0
  float* c = nullptr;             // [m,n]
};

/// A part of c that is done, while it is in the cache: c[row + r, column + x] is c[r*pitch + x].
struct ProductTile {
  float* c;
  std::int64_t pitch, row, rows, column, columns;
};
using FinishTile = FunctionRef<void(const ProductTile&)>;

/// workspace: workspace_bytes(p), aligned to 64. `finish`, if any, sees each element of c once, on
/// the thread that computed it.
void run(const WideProduct& p, void* workspace, const FinishTile* finish = nullptr);

/// Holds for the num_threads() of the moment it was asked for.
std::size_t workspace_bytes(const WideProduct& p);

/// b [n,k] in the order that products read it, for the instructions in use (core/simd.h). `packed`:
/// packed_factor_bytes(n, k), aligned to 64.
void pack_factor(const float* b, std::int64_t n, std::int64_t k, float* packed);
std::size_t packed_factor_bytes(std::int64_t n, std::int64_t k);

}  // namespace hh::cpu
