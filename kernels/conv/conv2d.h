// Two-dimensional convolution, stride 1, "same" padding, odd kernel sides (3x3, 1x3, 3x1, 1x1):
//
//   y[b,i,j,o] = bias[o] + sum_{u,v,c} w[o,c,u,v] x[b, i+u-(kh-1)/2, j+v-(kw-1)/2, c]
//
// Images are channels-last [B, H, W, C]; weights keep the state dict's order [Cout, Cin, kh, kw].
// Storage type T is float or bf16, sums are float32. CPU: oneDNN (docs/decisions/gemm.md).
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"

namespace hh {

struct Conv2dShape {
  int images = 0;                         // B >= 0
  int height = 0, width = 0;              // H, W >= 1
  int in_channels = 0, out_channels = 0;  // >= 1
  int kernel_h = 1, kernel_w = 1;         // odd
};

template <class T>
struct Conv2dForward {
  const T* x = nullptr;         // [B, H, W, Cin] in
  const T* weight = nullptr;    // [Cout, Cin, kh, kw] in
  const float* bias = nullptr;  // [Cout] in   may be null
  T* y = nullptr;               // [B, H, W, Cout] out
  Conv2dShape shape;
  void* workspace = nullptr;
};

template <class T>
struct Conv2dBackwardInput {
  const T* dy = nullptr;      // [B, H, W, Cout] in
  const T* weight = nullptr;  // [Cout, Cin, kh, kw] in
  T* dx = nullptr;            // [B, H, W, Cin] out
  Conv2dShape shape;
  void* workspace = nullptr;
};

template <class T>
struct Conv2dBackwardWeight {
  const T* x = nullptr;      // [B, H, W, Cin] in
  const T* dy = nullptr;     // [B, H, W, Cout] in
  float* dweight = nullptr;  // [Cout, Cin, kh, kw] in/out, added to
  float* dbias = nullptr;    // [Cout] in/out, added to; may be null
  Conv2dShape shape;
  void* workspace = nullptr;
};

namespace cpu {
template <class T>
void conv2d_forward(const Conv2dForward<T>& p);
template <class T>
void conv2d_backward_input(const Conv2dBackwardInput<T>& p);
template <class T>
void conv2d_backward_weight(const Conv2dBackwardWeight<T>& p);
template <class T>
std::size_t workspace_bytes(const Conv2dForward<T>& p);
template <class T>
std::size_t workspace_bytes(const Conv2dBackwardInput<T>& p);
template <class T>
std::size_t workspace_bytes(const Conv2dBackwardWeight<T>& p);
}  // namespace cpu

}  // namespace hh
