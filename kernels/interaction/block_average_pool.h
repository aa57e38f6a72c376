// SPDX-License-Identifier: Apache-2.0
// Average over s x s blocks, stride s, of channels-last images:
//
//   y[b,i,j,c] = 1/s^2 sum_{u,v < s} x[b, i*s+u, j*s+v, c]
//   dx[b, i*s+u, j*s+v, c] (+)= dy[b,i,j,c] / s^2
//
// Sums are float32 whatever T is.
// Source: docs/specification.md, section 1, "Interactive Module", global path; "Hash layer",
// global path.
#pragma once
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"
#include "kernels/core/work.h"

namespace hh {

template <class T>  // float, bf16 or (GPU) f16
struct BlockAveragePoolForward {
  const T* x = nullptr;  // [B, g*s, g*s, C] in
  T* y = nullptr;        // [B, g, g, C] out
  int images = 0;        // B >= 0
  int grid = 1;          // g: outputs per side, >= 1
  int side = 1;          // s >= 1
  int channels = 0;      // C >= 1

  static constexpr int kMaxSide = 1 << 15;  // of g*s

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(images >= 0, "block_average_pool: images = " << images);
    HH_PRECONDITION(grid >= 1, "block_average_pool: grid = " << grid);
    HH_PRECONDITION(side >= 1, "block_average_pool: side = " << side);
    HH_PRECONDITION(std::int64_t{grid} * side <= kMaxSide,
                    "block_average_pool: grid * side = " << std::int64_t{grid} * side);
    HH_PRECONDITION(channels >= 1, "block_average_pool: channels = " << channels);
    HH_PRECONDITION(images == 0 || (x && y), "block_average_pool: an array is null");
  }
  Work work() const {
    const double outputs = double(images) * grid * grid * channels;
    return {.bytes = sizeof(T) * outputs * (1.0 + double(side) * side)};
  }
};

template <class T>
struct BlockAveragePoolBackward {
  const T* dy = nullptr;    // [B, g, g, C] in
  T* dx = nullptr;          // [B, g*s, g*s, C] out
  bool accumulate = false;  // dx += rather than dx =
  int images = 0, grid = 1, side = 1, channels = 0;

  void validate() const {
    // The same shapes as forward: dx stands for x, dy for y.
    BlockAveragePoolForward<T>{dx, const_cast<T*>(dy), images, grid, side, channels}.validate();
  }
  Work work() const {
    const double outputs = double(images) * grid * grid * channels;
    return {.bytes = sizeof(T) * outputs * (1 + (accumulate ? 2.0 : 1.0) * side * side)};
  }
};

namespace cpu {
/// Return when done; the same bits for any number of threads.
template <class T>
void run(const BlockAveragePoolForward<T>& p);
template <class T>
void run(const BlockAveragePoolBackward<T>& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
template <class T>
void run(const BlockAveragePoolForward<T>& p, StreamHandle stream);
template <class T>
void run(const BlockAveragePoolBackward<T>& p, StreamHandle stream);
}  // namespace gpu

}  // namespace hh
