// SPDX-License-Identifier: Apache-2.0
// Two-dimensional convolution, stride 1, "same" padding, odd kernel sides (3x3, 1x3, 3x1, 1x1):
//
//   y[b,i,j,o] = bias[o] + sum_{u,v,c} w[o,c,u,v] x[b, i+u-(kh-1)/2, j+v-(kw-1)/2, c]
//
// Images are channels-last [B, H, W, C]; weights keep the state dict's order [Cout, Cin, kh, kw].
// Arrays don't overlap. Storage type T is float, bf16 or (GPU) f16, sums are float32; on a GPU
// y may be rounded to T once more before the bias is added. oneDNN or our own on the CPU
// (docs/decisions/gemm.md), cuDNN on the GPU where it is installed. A 1x1 kernel is a linear layer
// on the pixels, which is faster: the engine's conv2d takes that.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"
#include "kernels/core/partial_sums.h"
#include "kernels/core/work.h"

namespace hh {

struct Conv2dShape {
  int images = 0;                         // B >= 0
  int height = 0, width = 0;              // H, W >= 1
  int in_channels = 0, out_channels = 0;  // >= 1
  int kernel_h = 1, kernel_w = 1;         // odd

  std::int64_t pixels() const { return std::int64_t{images} * height * width; }
  constexpr int taps() const { return kernel_h * kernel_w; }
  std::int64_t weights() const { return std::int64_t{out_channels} * in_channels * taps(); }

  /// Of any of the three ops: both images once, and so many bytes for each weight.
  Work work(std::size_t element, std::size_t bytes_per_weight) const {
    return {.bytes = double(pixels()) * double(element) * (in_channels + out_channels) +
                     double(weights()) * double(bytes_per_weight),
            .flops = 2 * double(pixels()) * double(weights()),
            .half_products = element == 2};
  }

  /// Throws std::invalid_argument, naming the op, the field and its value.
  void validate(const char* op) const {
    HH_PRECONDITION(images >= 0, op << ": images = " << images);
    HH_PRECONDITION(height >= 1, op << ": height = " << height);
    HH_PRECONDITION(width >= 1, op << ": width = " << width);
    HH_PRECONDITION(in_channels >= 1, op << ": in_channels = " << in_channels);
    HH_PRECONDITION(out_channels >= 1, op << ": out_channels = " << out_channels);
    HH_PRECONDITION(kernel_h >= 1 && kernel_h % 2 == 1, op << ": kernel_h = " << kernel_h);
    HH_PRECONDITION(kernel_w >= 1 && kernel_w % 2 == 1, op << ": kernel_w = " << kernel_w);
  }
};

template <class T>
struct Conv2dForward {
  const T* x = nullptr;       // [B, H, W, Cin] in
  const T* weight = nullptr;  // [Cout, Cin, kh, kw] in
  const T* bias = nullptr;    // [Cout] in   may be null
  T* y = nullptr;             // [B, H, W, Cout] out
  T* rows = nullptr;          // [Cout, kh, kw, Cin] out  GPU: the weights so; may be null
  Conv2dShape shape;
  void* workspace = nullptr;  // workspace_bytes(*this), aligned to 64 (GPU: 256)

  void validate() const {
    shape.validate("conv2d_forward");
    HH_PRECONDITION(shape.images == 0 || (x && weight && y), "conv2d_forward: an array is null");
  }
  Work work() const { return shape.work(sizeof(T), sizeof(T)); }
};

template <class T>
struct Conv2dBackwardInput {
  const T* dy = nullptr;      // [B, H, W, Cout] in
  const T* weight = nullptr;  // [Cout, Cin, kh, kw] in
  T* dx = nullptr;            // [B, H, W, Cin] out
  const T* rows = nullptr;    // [Cout, kh, kw, Cin] in  GPU: what forward left; may be null
  Conv2dShape shape;
  void* workspace = nullptr;  // workspace_bytes(*this), aligned to 64 (GPU: 256)

  void validate() const {
    shape.validate("conv2d_backward_input");
    HH_PRECONDITION(shape.images == 0 || (dy && weight && dx),
                    "conv2d_backward_input: an array is null");
  }
  Work work() const { return shape.work(sizeof(T), sizeof(T)); }
};

template <class T>
struct Conv2dBackwardWeight {
  const T* x = nullptr;      // [B, H, W, Cin] in
  const T* dy = nullptr;     // [B, H, W, Cout] in
  float* dweight = nullptr;  // [Cout, Cin, kh, kw] in/out, added to
  float* dbias = nullptr;    // [Cout] in/out, added to; may be null
  Conv2dShape shape;
  void* workspace = nullptr;    // workspace_bytes(*this), aligned to 64 (GPU: 256)
  PartialSums* left = nullptr;  // GPU, host memory: takes the parameters' sums (partial_sums.h)

  void validate() const {
    shape.validate("conv2d_backward_weight");
    HH_PRECONDITION(shape.images == 0 || (x && dy && dweight),
                    "conv2d_backward_weight: an array is null");
  }
  Work work() const { return shape.work(sizeof(T), 2 * sizeof(float)); }
};

namespace cpu {
/// Return when done. The same bits every time for one number of threads. Throw DeviceError when
/// oneDNN fails. The size of the workspace holds for the num_threads() of the moment it was asked
/// for.
template <class T>
void run(const Conv2dForward<T>& p);
template <class T>
void run(const Conv2dBackwardInput<T>& p);
template <class T>
void run(const Conv2dBackwardWeight<T>& p);
template <class T>
std::size_t workspace_bytes(const Conv2dForward<T>& p);
template <class T>
std::size_t workspace_bytes(const Conv2dBackwardInput<T>& p);
template <class T>
std::size_t workspace_bytes(const Conv2dBackwardWeight<T>& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
template <class T>
void run(const Conv2dForward<T>& p, StreamHandle stream);
template <class T>
void run(const Conv2dBackwardInput<T>& p, StreamHandle stream);
template <class T>
void run(const Conv2dBackwardWeight<T>& p, StreamHandle stream);
template <class T>
std::size_t workspace_bytes(const Conv2dForward<T>& p);
template <class T>
std::size_t workspace_bytes(const Conv2dBackwardInput<T>& p);
template <class T>
std::size_t workspace_bytes(const Conv2dBackwardWeight<T>& p);
template <class T>
std::size_t partial_sums_bytes(const Conv2dBackwardWeight<T>& p);
}  // namespace gpu

}  // namespace hh
