// SPDX-License-Identifier: Apache-2.0
// Images to the rows of the patch-embedding GEMM, whose weight is the state dict's
// [C0, Cin, p, p] read as [C0, Cin*p*p]:
//
//   rows[(b, i, j), (c, u, v)] = image[b, c, i*p + u, j*p + v]
//
// From float channels-first images (the goldens' inputs), with the gradient back to them, or from
// 8-bit channels-last images as the loader delivers them, normalised on the way:
//   (pixel / 255 - mean[c]) / std[c]     computed as pixel * (1/(255 std)) - mean/std in float32
// Source: docs/specification.md, section 1, "Patch embedding"; section 4, image pipeline.
#pragma once
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"
#include "kernels/core/work.h"

namespace hh {

struct PatchShape {
  int images = 0;    // B >= 0
  int channels = 3;  // Cin, 1 to 4
  int size = 0;      // S: image side, a multiple of p
  int patch = 1;     // p >= 1

  constexpr std::int64_t rows() const {
    return std::int64_t{images} * (size / patch) * (size / patch);
  }
  constexpr int cols() const { return channels * patch * patch; }

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(images >= 0, "patchify: images = " << images);
    HH_PRECONDITION(channels >= 1 && channels <= 4, "patchify: channels = " << channels);
    HH_PRECONDITION(patch >= 1, "patchify: patch = " << patch);
    HH_PRECONDITION(size >= 0 && size % patch == 0,
                    "patchify: size = " << size << " isn't a multiple of patch = " << patch);
  }
};

template <class T>  // float, bf16 or (GPU) f16
struct PatchifyForward {
  const float* image = nullptr;  // [B, Cin, S, S] in
  T* rows = nullptr;             // [B * (S/p)^2, Cin*p*p] out
  PatchShape shape;

  void validate() const {
    shape.validate();
    HH_PRECONDITION(shape.rows() == 0 || (image && rows), "patchify: an array is null");
  }
  Work work() const { return {.bytes = (4.0 + sizeof(T)) * double(shape.rows()) * shape.cols()}; }
};

template <class T>
struct PatchifyBackward {
  const T* drows = nullptr;  // [B * (S/p)^2, Cin*p*p] in
  float* dimage = nullptr;   // [B, Cin, S, S] out
  PatchShape shape;

  void validate() const {
    shape.validate();
    HH_PRECONDITION(shape.rows() == 0 || (drows && dimage), "patchify: an array is null");
  }
  Work work() const { return {.bytes = (4.0 + sizeof(T)) * double(shape.rows()) * shape.cols()}; }
};

template <class T>
struct PatchifyPixels {
  const std::uint8_t* pixels = nullptr;  // [B, S, S, Cin] in
  T* rows = nullptr;                     // [B * (S/p)^2, Cin*p*p] out
  float mean[4] = {0, 0, 0, 0};          // per channel, of values in [0, 1]
  float std[4] = {1, 1, 1, 1};           // > 0
  PatchShape shape;

  void validate() const {
    shape.validate();
    HH_PRECONDITION(shape.rows() == 0 || (pixels && rows), "patchify: an array is null");
    for (int c = 0; c < shape.channels; ++c) {
      HH_PRECONDITION(std[c] > 0, "patchify: std[" << c << "] = " << std[c]);
    }
  }
  Work work() const { return {.bytes = (1.0 + sizeof(T)) * double(shape.rows()) * shape.cols()}; }
};

namespace cpu {
template <class T>
void run(const PatchifyForward<T>& p);
template <class T>
void run(const PatchifyBackward<T>& p);
template <class T>
void run(const PatchifyPixels<T>& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
template <class T>
void run(const PatchifyForward<T>& p, StreamHandle stream);
template <class T>
void run(const PatchifyBackward<T>& p, StreamHandle stream);
template <class T>
void run(const PatchifyPixels<T>& p, StreamHandle stream);
}  // namespace gpu

}  // namespace hh
