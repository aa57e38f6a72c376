// SPDX-License-Identifier: Apache-2.0
// A linear layer with bias and exact GELU, as it begins a transformer's MLP, in one kernel; and the
// gradient of its product, in one kernel with the input gradient of the linear layer that ends the
// MLP, out[r,o] = sum_h y[r,h] v[o,h]:
//
//   pre[r,h] = sum_i x[r,i] w[h,i],   y = gelu(pre + bias),   gelu(v) = v Phi(v) (erf, not tanh)
//   dpre[r,h] = gelu'(pre[r,h] + bias[h]) sum_o dout[r,o] v[o,h],   dbias[h] += sum_r dpre[r,h]
//
// From dpre the gradients of x and w are those of linear.h. All arrays are dense and row-major and
// don't overlap. T is float, bf16 or (GPU) f16, sums are float32. What two launches round on the
// way (pre before GELU, the sum before its factor) one kernel doesn't, so their results differ by
// that rounding; each way gives the same bits every time on the same device.
//
// Source: docs/specification.md, section 1; linear.h and bias_gelu.h are the two launches.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"
#include "kernels/core/partial_sums.h"
#include "kernels/core/work.h"

namespace hh {

/// How a GPU makes it. One kernel, or cuBLASLt's product and then bias_gelu: what a rule by the
/// shape expects to be faster, or as told. Two launches also where one kernel can't: for float,
/// arrays that don't begin at a multiple of 16 bytes, and widths that aren't a multiple of 8.
enum class LinearGeluWay { kByShape, kOneKernel, kTwoLaunches };

namespace detail {
inline void require_linear_gelu_sizes(const char* op, std::int64_t rows, const char* inner_name,
                                      int inner, int hidden) {
  HH_PRECONDITION(rows >= 0, op << ": rows = " << rows);
  HH_PRECONDITION(inner >= 1, op << ": " << inner_name << " = " << inner);
  HH_PRECONDITION(hidden >= 1, op << ": hidden = " << hidden);
}
}  // namespace detail

template <class T>
struct LinearGeluForward {
  const T* x = nullptr;          // [R, I] in
  const T* weight = nullptr;     // [H, I] in   w
  const float* bias = nullptr;   // [H]    in
  T* pre = nullptr;              // [R, H] out  what backward needs; null in inference
  T* y = nullptr;                // [R, H] out
  const void* packed = nullptr;  // CPU, float: the weight by LinearPack (linear.h), or null
  std::int64_t rows = 0;         // R >= 0
  int in = 0;                    // I >= 1
  int hidden = 0;                // H >= 1
  LinearGeluWay way = LinearGeluWay::kByShape;
  void* workspace = nullptr;  // workspace_bytes(*this), aligned to 64 (GPU: 256)

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    detail::require_linear_gelu_sizes("linear_gelu", rows, "in", in, hidden);
    HH_PRECONDITION(rows == 0 || (x && weight && bias && y), "linear_gelu: an array is null");
  }
  Work work() const {
    const double r = double(rows), i = in, h = hidden;
    return {.bytes = sizeof(T) * (r * i + h * i + (pre ? 2 : 1) * r * h),
            .flops = 2 * r * i * h,
            .half_products = sizeof(T) == 2};
  }
};

template <class T>
struct LinearGeluBackward {
  const T* dout = nullptr;      // [R, O] in
  const T* weight = nullptr;    // [O, H] in   v, of the layer that follows
  const T* pre = nullptr;       // [R, H] in   forward's
  const float* bias = nullptr;  // [H]    in   forward's
  T* dpre = nullptr;            // [R, H] out
  float* dbias = nullptr;       // [H] in/out  added to: sums of dpre before its rounding to T
  std::int64_t rows = 0;        // R >= 0
  int hidden = 0;               // H >= 1
  int out = 0;                  // O >= 1
  LinearGeluWay way = LinearGeluWay::kByShape;
  void* workspace = nullptr;    // workspace_bytes(*this), aligned to 64 (GPU: 256)
  PartialSums* left = nullptr;  // GPU, host memory: takes the parameters' sums (partial_sums.h)

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    detail::require_linear_gelu_sizes("linear_gelu_backward", rows, "out", out, hidden);
    HH_PRECONDITION(rows == 0 || (dout && weight && pre && bias && dpre && dbias),
                    "linear_gelu_backward: an array is null");
  }
  Work work() const {
    const double r = double(rows), o = out, h = hidden;
    return {.bytes = sizeof(T) * (r * o + h * o + 2 * r * h),
            .flops = 2 * r * o * h,
            .half_products = sizeof(T) == 2};
  }
};

namespace cpu {
/// Return when done. The same bits every time for one number of threads; y and pre in float32 for any
/// number. Throw DeviceError when oneDNN fails.
template <class T>
void run(const LinearGeluForward<T>& p);
template <class T>
void run(const LinearGeluBackward<T>& p);
/// Bytes that `workspace` must hold; 0 when it may be null. Holds for the num_threads() of the
/// moment it was asked for.
template <class T>
std::size_t workspace_bytes(const LinearGeluForward<T>& p);
template <class T>
std::size_t workspace_bytes(const LinearGeluBackward<T>& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time on the same kind of GPU.
template <class T>
void run(const LinearGeluForward<T>& p, StreamHandle stream);
template <class T>
void run(const LinearGeluBackward<T>& p, StreamHandle stream);
template <class T>
std::size_t workspace_bytes(const LinearGeluForward<T>& p);
template <class T>
std::size_t workspace_bytes(const LinearGeluBackward<T>& p);
template <class T>
std::size_t partial_sums_bytes(const LinearGeluBackward<T>& p);
}  // namespace gpu

}  // namespace hh
