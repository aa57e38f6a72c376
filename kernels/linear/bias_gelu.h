// SPDX-License-Identifier: Apache-2.0
// Bias and exact GELU, y = v * Phi(v) with v = x + bias and Phi the normal distribution function
// (erf, not the tanh form). Backward recomputes v from x:
//
//   dx = dy * (Phi(v) + v * phi(v)),   dbias += sum_r dx
//
// Source: docs/specification.md, section 1, "All LayerNorms ... GELU: exact".
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"
#include "kernels/core/partial_sums.h"
#include "kernels/core/work.h"

namespace hh {

template <class T>  // float, bf16 or (GPU) f16
struct BiasGeluForward {
  const T* x = nullptr;         // [R, C] in
  const float* bias = nullptr;  // [C] in
  T* y = nullptr;               // [R, C] out  may be `x` in inference
  std::int64_t rows = 0;        // R >= 0
  int cols = 0;                 // C >= 1

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(rows >= 0, "bias_gelu: rows = " << rows);
    HH_PRECONDITION(cols >= 1, "bias_gelu: cols = " << cols);
    HH_PRECONDITION(rows == 0 || (x && bias && y), "bias_gelu: an array is null");
  }
  Work work() const { return {.bytes = 2.0 * sizeof(T) * double(rows) * cols}; }
};

template <class T>
struct BiasGeluBackward {
  const T* x = nullptr;         // [R, C] in   forward's input
  const float* bias = nullptr;  // [C] in
  const T* dy = nullptr;        // [R, C] in
  T* dx = nullptr;              // [R, C] out  may be `dy`
  float* dbias = nullptr;       // [C] in/out  added to: sums of dx before its rounding to T
  std::int64_t rows = 0;        // R >= 0
  int cols = 0;                 // C >= 1
  void* workspace = nullptr;    // workspace_bytes(*this), aligned to 64
  PartialSums* left = nullptr;  // GPU, host memory: takes the parameters' sums (partial_sums.h)

  void validate() const {
    HH_PRECONDITION(rows >= 0, "bias_gelu: rows = " << rows);
    HH_PRECONDITION(cols >= 1, "bias_gelu: cols = " << cols);
    HH_PRECONDITION(rows == 0 || (x && bias && dy && dx && dbias), "bias_gelu: an array is null");
  }
  Work work() const { return {.bytes = 3.0 * sizeof(T) * double(rows) * cols}; }
};

namespace cpu {
/// Return when done; the same bits for any number of threads.
template <class T>
void run(const BiasGeluForward<T>& p);
template <class T>
void run(const BiasGeluBackward<T>& p);
template <class T>
std::size_t workspace_bytes(const BiasGeluBackward<T>& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
template <class T>
void run(const BiasGeluForward<T>& p, StreamHandle stream);
template <class T>
void run(const BiasGeluBackward<T>& p, StreamHandle stream);
template <class T>
std::size_t workspace_bytes(const BiasGeluBackward<T>& p);
template <class T>
std::size_t partial_sums_bytes(const BiasGeluBackward<T>& p);
}  // namespace gpu

}  // namespace hh
