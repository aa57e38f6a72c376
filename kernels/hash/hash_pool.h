// SPDX-License-Identifier: Apache-2.0
// The hash layer between its convolutions and its projection:
//
//   sum[b,i,j,c] = local[b,i,j,c] + glob[b,c]      in float32; the upsampled 1x1 map is constant
//   pooled[b,c]  = mean over i,j < o of (max of sum over the 3x3 window at (2i, 2j))
//                                                  stride 2; padding never wins
//
// The reference applies its 1x1 convolution before the mean; both are linear, so the mean may come
// first and the projection (hash_head.h) then runs on one vector per image instead of a map.
// The map has side o = (s-1)/2 + 1. Ties and argmax as in interaction_merge.h.
// Backward: each window's winner gets dpooled[b,c] / o^2; dglob[b,c] = sum of those = dpooled[b,c].
// Source: docs/specification.md, section 1, "Hash layer".
#pragma once
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"
#include "kernels/core/work.h"

namespace hh {

template <class T>  // float, bf16 or (GPU) f16
struct HashPoolForward {
  const T* local = nullptr;        // [B, s, s, C] in
  const T* glob = nullptr;         // [B, C] in
  T* pooled = nullptr;             // [B, C] out
  std::uint8_t* argmax = nullptr;  // [B, o, o, C] out  null in inference
  int images = 0;                  // B >= 0
  int side = 1;                    // s >= 1
  int channels = 0;                // C >= 1

  static constexpr int kMaxSide = 1 << 15;

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(images >= 0, "hash_pool: images = " << images);
    HH_PRECONDITION(side >= 1 && side <= kMaxSide, "hash_pool: side = " << side);
    HH_PRECONDITION(channels >= 1, "hash_pool: channels = " << channels);
    HH_PRECONDITION(images == 0 || (local && glob && pooled), "hash_pool: an array is null");
  }
  Work work() const {
    const double o = (side - 1) / 2 + 1, vectors = double(images) * channels;
    return {.bytes = vectors * (sizeof(T) * (double(side) * side + 2) + (argmax ? o * o : 0))};
  }
};

template <class T>
struct HashPoolBackward {
  const T* dpooled = nullptr;            // [B, C] in
  const std::uint8_t* argmax = nullptr;  // [B, o, o, C] in
  T* dlocal = nullptr;                   // [B, s, s, C] out
  int images = 0, side = 1, channels = 0;

  void validate() const {
    HH_PRECONDITION(images >= 0, "hash_pool: images = " << images);
    HH_PRECONDITION(side >= 1 && side <= HashPoolForward<T>::kMaxSide,
                    "hash_pool: side = " << side);
    HH_PRECONDITION(channels >= 1, "hash_pool: channels = " << channels);
    HH_PRECONDITION(images == 0 || (dpooled && argmax && dlocal), "hash_pool: an array is null");
  }
  Work work() const {
    const double o = (side - 1) / 2 + 1, vectors = double(images) * channels;
    return {.bytes = vectors * (sizeof(T) * (double(side) * side + 1) + o * o)};
  }
};

namespace cpu {
/// Return when done; the same bits for any number of threads.
template <class T>
void run(const HashPoolForward<T>& p);
template <class T>
void run(const HashPoolBackward<T>& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
template <class T>
void run(const HashPoolForward<T>& p, StreamHandle stream);
template <class T>
void run(const HashPoolBackward<T>& p, StreamHandle stream);
}  // namespace gpu

}  // namespace hh
