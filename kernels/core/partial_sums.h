// SPDX-License-Identifier: Apache-2.0
// Sums over the rows of a matrix that an op has not finished: gradients of parameters, of which each
// block of its kernel leaves a row. Many ops' are then added up in one launch
// (kernels/elementwise/add_partial_sums.h).
//
// An op on a GPU that can leave them has a field `left` and a function partial_sums_bytes(args). The
// caller sets left->rows to so much memory, aligned to 256, and run() fills in the rest; nothing may
// write there until they are added. With left = null the op adds them itself.
#pragma once
#include <cstdint>

namespace hh {

/// to[a][c] += sum over k of rows[(k * arrays + a) * cols + c]
struct PartialSums {
  static constexpr int kMostArrays = 3;

  float* rows = nullptr;   // [count, arrays, cols], device
  std::int64_t count = 0;  // 0: nothing is to be added
  int arrays = 1, cols = 0;
  float* to[kMostArrays] = {};  // [cols] each, device; null: not wanted
};

}  // namespace hh
