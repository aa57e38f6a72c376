// SPDX-License-Identifier: Apache-2.0
// Projection to K logits and tanh, in float32 whatever the storage type, since codes feed the bank:
//
//   logits[b,k] = bias[k] + sum_c pooled[b,c] w[k,c],   code = tanh(logits)
//   dlogits = dcode * (1 - code^2),   dpooled = dlogits w
//   dw += dlogits^T pooled,           dbias += sum_b dlogits
//
// A code whose logit is large rounds to 1 or -1 and then passes no gradient.
// Source: docs/specification.md, section 1, "Hash layer": conv2 (1x1), mean, tanh.
#pragma once
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"
#include "kernels/core/work.h"

namespace hh {

template <class T>  // float, bf16 or (GPU) f16
struct HashHeadForward {
  const T* pooled = nullptr;    // [B, C] in
  const T* weight = nullptr;    // [K, C] in
  const float* bias = nullptr;  // [K] in
  float* logits = nullptr;      // [B, K] out
  float* code = nullptr;        // [B, K] out, in [-1, 1]
  int images = 0;               // B >= 0
  int channels = 0;             // C >= 1
  int bits = 0;                 // K, 1 to 512

  static constexpr int kMinBits = 1, kMaxBits = 512;

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(images >= 0, "hash_head: images = " << images);
    HH_PRECONDITION(channels >= 1, "hash_head: channels = " << channels);
    HH_PRECONDITION(bits >= kMinBits && bits <= kMaxBits, "hash_head: bits = " << bits);
    HH_PRECONDITION(images == 0 || (pooled && weight && bias && logits && code),
                    "hash_head: an array is null");
  }
  Work work() const {
    const double b = images, c = channels, k = bits;
    return {.bytes = sizeof(T) * (b * c + k * c) + 8 * b * k, .flops = 2 * b * c * k};
  }
};

template <class T>
struct HashHeadBackward {
  const float* dcode = nullptr;  // [B, K] in
  const float* code = nullptr;   // [B, K] in
  const T* pooled = nullptr;     // [B, C] in
  const T* weight = nullptr;     // [K, C] in
  T* dpooled = nullptr;          // [B, C] out
  float* dweight = nullptr;      // [K, C] in/out  added to
  float* dbias = nullptr;        // [K] in/out  added to
  int images = 0, channels = 0, bits = 0;

  void validate() const {
    using Forward = HashHeadForward<T>;
    HH_PRECONDITION(images >= 0, "hash_head: images = " << images);
    HH_PRECONDITION(channels >= 1, "hash_head: channels = " << channels);
    HH_PRECONDITION(bits >= Forward::kMinBits && bits <= Forward::kMaxBits,
                    "hash_head: bits = " << bits);
    HH_PRECONDITION(
        images == 0 || (dcode && code && pooled && weight && dpooled && dweight && dbias),
        "hash_head: an array is null");
  }
  Work work() const {
    const double b = images, c = channels, k = bits;
    return {.bytes = sizeof(T) * (2 * b * c + k * c) + 8 * (k * c + b * k), .flops = 4 * b * c * k};
  }
};

namespace cpu {
/// Return when done; the same bits for any number of threads, and an image's logits don't depend
/// on the others of its batch.
template <class T>
void run(const HashHeadForward<T>& p);
template <class T>
void run(const HashHeadBackward<T>& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
template <class T>
void run(const HashHeadForward<T>& p, StreamHandle stream);
template <class T>
void run(const HashHeadBackward<T>& p, StreamHandle stream);
}  // namespace gpu

}  // namespace hh
