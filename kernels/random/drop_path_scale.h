// SPDX-License-Identifier: Apache-2.0
// Drop-path scales of one training step for all residual branches (stochastic depth per image):
//
//   scale[r, b] = 0 if draw(r, b) < rate[r], else 1 / (1 - rate[r])
//
// Row r is one branch of one layer. The draw is Philox::uniform of number i = first + b of the
// stream (seed, kDropPath, r) advanced by step * 2^32: word i % 4 of block step * 2^30 + i / 4. So
// it doesn't depend on device, threads or batch size, nor on how a batch is cut among processes; it
// repeats after 2^34 steps.
// Source: docs/specification.md, section 3, "drop path".
#pragma once
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/philox.h"
#include "kernels/core/work.h"

namespace hh {

struct DropPathScale {
  const float* rate = nullptr;  // [rows] in, host memory, each in [0, 1)
  float* scale = nullptr;       // [rows, images] out
  int rows = 0;                 // >= 0
  int images = 0;               // >= 0
  int first = 0;                // >= 0: images of the batch before these, on other processes
  std::uint64_t seed = 0;
  std::uint64_t step = 0;

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(rows >= 0, "drop_path_scale: rows = " << rows);
    HH_PRECONDITION(images >= 0, "drop_path_scale: images = " << images);
    HH_PRECONDITION(first >= 0, "drop_path_scale: first = " << first);
    if (rows == 0 || images == 0) return;
    HH_PRECONDITION(rate && scale, "drop_path_scale: an array is null");
    for (int r = 0; r < rows; ++r) {
      HH_PRECONDITION(rate[r] >= 0 && rate[r] < 1,
                      "drop_path_scale: rate[" << r << "] = " << rate[r]);
    }
  }
  Work work() const { return {.bytes = 4.0 * rows * images}; }
};

namespace cpu {
/// Returns when done.
void run(const DropPathScale& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
void run(const DropPathScale& p, StreamHandle stream);
}  // namespace gpu

}  // namespace hh
