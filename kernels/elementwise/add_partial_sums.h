// SPDX-License-Identifier: Apache-2.0
// Adds up what ops left of their parameters' gradients (kernels/core/partial_sums.h), all of it in
// one launch:
//
//   to[a][c] += sum over k of rows[(k * arrays + a) * cols + c]   for each of the sums
#pragma once
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/partial_sums.h"
#include "kernels/core/work.h"

namespace hh {

struct AddPartialSums {
  const PartialSums* sums =
      nullptr;    // [count] in, host memory; no array is added to by two of them
  int count = 0;  // >= 0

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(count >= 0, "add_partial_sums: count = " << count);
    HH_PRECONDITION(count == 0 || sums, "add_partial_sums: sums is null");
    for (int i = 0; i < count; ++i) {
      const PartialSums& s = sums[i];
      HH_PRECONDITION(
          s.count >= 0 && s.cols >= 0 && s.arrays >= 1 && s.arrays <= PartialSums::kMostArrays,
          "add_partial_sums: sums[" << i << "] has count = " << s.count << ", cols = " << s.cols
                                    << ", arrays = " << s.arrays);
      HH_PRECONDITION(s.count == 0 || s.cols == 0 || s.rows,
                      "add_partial_sums: rows of sums[" << i << "] is null");
    }
  }
  Work work() const {
    double floats = 0;
    for (int i = 0; i < count; ++i) {
      for (int a = 0; a < sums[i].arrays; ++a) {
        if (sums[i].to[a] != nullptr) floats += double(sums[i].count + 2) * sums[i].cols;
      }
    }
    return {.bytes = sizeof(float) * floats};
  }
};

namespace cpu {
/// Returns when done; the same bits for any number of threads.
void run(const AddPartialSums& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time, those of an op that adds its own sums.
void run(const AddPartialSums& p, StreamHandle stream);
}  // namespace gpu

}  // namespace hh
