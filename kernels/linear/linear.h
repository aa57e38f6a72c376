// SPDX-License-Identifier: Apache-2.0
// Linear layer on rows:
//
//   y[r,o] = sum_i x[r,i] w[o,i] + bias[o]                  (bias may be null: nothing is added)
//   dx[r,i] = sum_o dy[r,o] w[o,i]
//   dw[o,i] += sum_r dy[r,o] x[r,i],   dbias[o] += sum_r dy[r,o]
//
// All arrays are dense and row-major and don't overlap. Storage type T is float, bf16 or (GPU) f16,
// sums are float32; the bias is of type T as well, which cuBLASLt demands for its epilogue, and y is
// rounded once. What multiplies on CPUs: docs/decisions/gemm.md.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"
#include "kernels/core/partial_sums.h"
#include "kernels/core/work.h"

namespace hh {

namespace detail {
inline void require_linear_sizes(const char* op, std::int64_t rows, int in, int out) {
  HH_PRECONDITION(rows >= 0, op << ": rows = " << rows);
  HH_PRECONDITION(in >= 1, op << ": in = " << in);
  HH_PRECONDITION(out >= 1, op << ": out = " << out);
}

/// x, y and the weight once.
template <class T>
Work linear_work(std::int64_t rows, int in, int out) {
  const double r = double(rows), i = in, o = out;
  return {.bytes = sizeof(T) * (r * i + r * o + i * o),
          .flops = 2 * r * i * o,
          .half_products = sizeof(T) == 2};
}
}  // namespace detail

template <class T>
struct LinearForward {
  const T* x = nullptr;          // [R, I] in
  const T* weight = nullptr;     // [O, I] in
  const T* bias = nullptr;       // [O]    in   may be null
  T* y = nullptr;                // [R, O] out
  const void* packed = nullptr;  // CPU, float: the weight by LinearPack, or null
  std::int64_t rows = 0;         // R >= 0
  int in = 0;                    // I >= 1
  int out = 0;                   // O >= 1
  void* workspace = nullptr;     // workspace_bytes(*this), aligned to 64 (GPU: 256)

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    detail::require_linear_sizes("linear_forward", rows, in, out);
    HH_PRECONDITION(rows == 0 || (x && weight && y), "linear_forward: an array is null");
  }
  Work work() const { return detail::linear_work<T>(rows, in, out); }
};

/// A weight that stays as it is, in the order that forward's products on CPUs read it: LinearForward and
/// LinearGeluForward needn't pack it each time and give the same bits.
struct LinearPack {
  static constexpr bool kOnCpuOnly = true;
  const float* weight = nullptr;  // [O, I] in
  void* packed = nullptr;         // cpu::linear_packed_bytes(in, out), aligned to 64, out
  int in = 0, out = 0;            // I, O >= 1

  void validate() const {
    detail::require_linear_sizes("linear_pack", 1, in, out);
    HH_PRECONDITION(weight && packed, "linear_pack: an array is null");
  }
  Work work() const { return {.bytes = 2 * sizeof(float) * double(in) * out}; }
};

template <class T>
struct LinearBackwardInput {
  const T* dy = nullptr;      // [R, O] in
  const T* weight = nullptr;  // [O, I] in
  T* dx = nullptr;            // [R, I] out
  bool accumulate = false;    // dx += rather than dx =
  std::int64_t rows = 0;
  int in = 0, out = 0;
  void* workspace = nullptr;  // workspace_bytes(*this), aligned to 64 (GPU: 256)

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    detail::require_linear_sizes("linear_backward_input", rows, in, out);
    HH_PRECONDITION(rows == 0 || (dy && weight && dx), "linear_backward_input: an array is null");
  }
  Work work() const {
    Work w = detail::linear_work<T>(rows, in, out);
    if (accumulate) w.bytes += sizeof(T) * double(rows) * in;
    return w;
  }
};

template <class T>
struct LinearBackwardWeight {
  const T* x = nullptr;      // [R, I] in
  const T* dy = nullptr;     // [R, O] in
  float* dweight = nullptr;  // [O, I] in/out, added to
  float* dbias = nullptr;    // [O]    in/out, added to; may be null
  std::int64_t rows = 0;
  int in = 0, out = 0;
  void* workspace = nullptr;    // workspace_bytes(*this), aligned to 64 (GPU: 256)
  PartialSums* left = nullptr;  // GPU, host memory: takes the parameters' sums (partial_sums.h)

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    detail::require_linear_sizes("linear_backward_weight", rows, in, out);
    HH_PRECONDITION(rows == 0 || (x && dy && dweight), "linear_backward_weight: an array is null");
  }
  Work work() const {
    Work w = detail::linear_work<T>(rows, in, out);
    w.bytes += (2 * sizeof(float) - sizeof(T)) * double(in) * out;  // dweight is added to
    return w;
  }
};

namespace cpu {
/// Return when done. The same bits every time for one number of threads; dbias, and y unless bf16 is native, for
/// any number. Throw DeviceError when oneDNN fails.
template <class T>
void run(const LinearForward<T>& p);
template <class T>
void run(const LinearBackwardInput<T>& p);
template <class T>
void run(const LinearBackwardWeight<T>& p);
/// Return when done. What it packs is for the instructions in use (core/simd.h).
void run(const LinearPack& p);
/// Bytes of the packed weight of a layer.
std::size_t linear_packed_bytes(int in, int out);
/// Bytes that `workspace` must hold; 0 when it may be null. Holds for the num_threads() of the
/// moment it was asked for.
template <class T>
std::size_t workspace_bytes(const LinearForward<T>& p);
template <class T>
std::size_t workspace_bytes(const LinearBackwardInput<T>& p);
template <class T>
std::size_t workspace_bytes(const LinearBackwardWeight<T>& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
template <class T>
void run(const LinearForward<T>& p, StreamHandle stream);
template <class T>
void run(const LinearBackwardInput<T>& p, StreamHandle stream);
template <class T>
void run(const LinearBackwardWeight<T>& p, StreamHandle stream);
template <class T>
std::size_t workspace_bytes(const LinearForward<T>& p);
template <class T>
std::size_t workspace_bytes(const LinearBackwardInput<T>& p);
template <class T>
std::size_t workspace_bytes(const LinearBackwardWeight<T>& p);
template <class T>
std::size_t partial_sums_bytes(const LinearBackwardWeight<T>& p);
}  // namespace gpu

}  // namespace hh
