// SPDX-License-Identifier: Apache-2.0
// The l2 norm of all gradients, the factor that clips it, and whether anything isn't finite,
// without a word to the host. In two ops, so that processes that train together can each take a
// part of the chunks and end with the same bits as one that takes all:
//
//   squares[c] = sum of g_i^2 over the elements i of chunk c    in float64, in a fixed order
//   norm[0] = inverse_loss_scale * sqrt(sum_c squares[c])       in float64, in a fixed order
//   scale[0] = inverse_loss_scale * (max_norm > 0 and norm > max_norm ? max_norm / norm : 1)
//   skip[0] = 1 if the norm isn't finite, else 0
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/work.h"

namespace hh {

struct GradientSquares {
  static constexpr std::int64_t kChunk = 65536;  // elements of a chunk, but of the last

  const float* gradient = nullptr;  // [n] in
  std::int64_t n = 0;               // >= 0
  double* squares = nullptr;        // [chunks(n)] out

  static constexpr std::int64_t chunks(std::int64_t n) { return (n + kChunk - 1) / kChunk; }

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(n >= 0, "gradient_squares: n = " << n);
    HH_PRECONDITION(n == 0 || (gradient && squares), "gradient_squares: an array is null");
  }
  Work work() const { return {.bytes = 4.0 * double(n), .reads_only = true}; }
};

struct GradientNorm {
  const double* squares = nullptr;  // [chunks] in
  std::int64_t chunks = 0;          // >= 0
  float inverse_loss_scale = 1;     // > 0
  float max_norm = 0;               // >= 0; 0: no clipping
  float* norm = nullptr;            // [1] out
  float* scale = nullptr;           // [1] out
  std::int32_t* skip = nullptr;     // [1] out

  void validate() const {
    HH_PRECONDITION(chunks >= 0, "gradient_norm: chunks = " << chunks);
    HH_PRECONDITION(inverse_loss_scale > 0 && std::isfinite(inverse_loss_scale),
                    "gradient_norm: inverse_loss_scale = " << inverse_loss_scale);
    HH_PRECONDITION(max_norm >= 0, "gradient_norm: max_norm = " << max_norm);
    HH_PRECONDITION((chunks == 0 || squares) && norm && scale && skip,
                    "gradient_norm: an array is null");
  }
  Work work() const { return {.bytes = 8.0 * double(chunks), .reads_only = true}; }
};

namespace cpu {
/// Return when done; the same bits for any number of threads.
void run(const GradientSquares& p);
void run(const GradientNorm& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
void run(const GradientSquares& p, StreamHandle stream);
void run(const GradientNorm& p, StreamHandle stream);
}  // namespace gpu

}  // namespace hh
