// SPDX-License-Identifier: Apache-2.0
// Linear layers whose products are of bytes, for inference on the CPU. Weights are rounded once, by
// output; inputs when they come, by row:
//
//   t[o] = max_i |w[o,i]| / 127,  p[o,i] = round(w[o,i] / t[o])        (Int8Pack)
//   s[r] = max_i |x[r,i]| / 127,  q[r,i] = round(x[r,i] / s[r])
//   y[r,o] = s[r] t[o] sum_i q[r,i] p[o,i] + bias[o]                   (Int8LinearForward)
//
// p and q are -127 to 127, rounded to nearest even; the sum is exact. A row (of x or w) whose largest
// magnitude is below 1e-30 counts as zeros; one with an infinity or a NaN makes all that it meets NaN.
// So rows don't see one another: an image's code doesn't depend on what shares its batch.
// All arrays are dense and row-major and don't overlap. There is no GPU side: those have bf16.
//
// Source: "LLM.int8()" (Dettmers et al., 2022), section 2.1, vector-wise quantisation.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/work.h"

namespace hh {

namespace detail {
inline constexpr int kMostInt8In = 65536;  // sums stay within 32 bits
inline void require_int8_sizes(const char* op, std::int64_t rows, int in, int out) {
  HH_PRECONDITION(rows >= 0, op << ": rows = " << rows);
  HH_PRECONDITION(in >= 1 && in <= kMostInt8In, op << ": in = " << in);
  HH_PRECONDITION(out >= 1, op << ": out = " << out);
}
/// x and y once, a byte for each weight.
inline Work int8_work(std::int64_t rows, int in, int out) {
  const double r = double(rows), i = in, o = out;
  return {.bytes = sizeof(float) * (r * i + r * o) + i * o, .flops = 2 * r * i * o};
}
}  // namespace detail

/// Weights to what the products below take.
struct Int8Pack {
  static constexpr bool kOnCpuOnly = true;
  const float* weight = nullptr;  // [O, I] in
  void* packed = nullptr;         // cpu::int8_packed_bytes(in, out), aligned to 64, out
  int in = 0;                     // I, 1 to 65536
  int out = 0;                    // O >= 1
  void* workspace = nullptr;      // workspace_bytes(*this), aligned to 64

  void validate() const {
    detail::require_int8_sizes("int8_pack", 1, in, out);
    HH_PRECONDITION(weight && packed, "int8_pack: an array is null");
  }
  Work work() const { return {.bytes = 5.0 * in * out}; }
};

struct Int8LinearForward {
  static constexpr bool kOnCpuOnly = true;
  const float* x = nullptr;      // [R, I] in
  const void* packed = nullptr;  // in  of Int8Pack, aligned to 64
  const float* bias = nullptr;   // [O]    in   may be null
  float* y = nullptr;            // [R, O] out
  bool gelu = false;             // y = gelu(...), exact (bias_gelu.h); wants a bias
  std::int64_t rows = 0;         // R >= 0
  int in = 0;                    // I, 1 to 65536
  int out = 0;                   // O >= 1
  void* workspace = nullptr;     // workspace_bytes(*this), aligned to 64

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    detail::require_int8_sizes("int8_linear", rows, in, out);
    HH_PRECONDITION(rows == 0 || (x && packed && y), "int8_linear: an array is null");
    HH_PRECONDITION(!gelu || bias, "int8_linear: gelu without a bias");
  }
  Work work() const { return detail::int8_work(rows, in, out); }
};

/// Two of them, the first with GELU: the same bits as those give, without the hidden layer in memory.
struct Int8MlpForward {
  static constexpr bool kOnCpuOnly = true;
  const float* x = nullptr;       // [R, I] in
  const void* packed1 = nullptr;  // in  of [H, I]
  const float* bias1 = nullptr;   // [H] in
  const void* packed2 = nullptr;  // in  of [O, H]
  float* y = nullptr;             // [R, O] out, without a bias
  std::int64_t rows = 0;          // R >= 0
  int in = 0, hidden = 0;         // I, H: 1 to 65536
  int out = 0;                    // O >= 1
  void* workspace = nullptr;      // workspace_bytes(*this), aligned to 64

  void validate() const {
    detail::require_int8_sizes("int8_mlp", rows, in, hidden);
    detail::require_int8_sizes("int8_mlp", rows, hidden, out);
    HH_PRECONDITION(rows == 0 || (x && packed1 && bias1 && packed2 && y),
                    "int8_mlp: an array is null");
  }
  Work work() const {
    Work w = detail::int8_work(rows, in, hidden);
    const Work second = detail::int8_work(rows, hidden, out);
    w.bytes += second.bytes - 2 * sizeof(float) * double(rows) * hidden;
    w.flops += second.flops;
    return w;
  }
};

namespace cpu {
/// Only where has_int8_products() (gemm/instructions.h). Return when done; the same bits for any
/// number of threads. Throw DeviceError when oneDNN fails.
void run(const Int8Pack& p);
void run(const Int8LinearForward& p);
void run(const Int8MlpForward& p);
/// Bytes that `workspace` must hold. Holds for the num_threads() of the moment it was asked for.
std::size_t workspace_bytes(const Int8Pack& p);
std::size_t workspace_bytes(const Int8LinearForward& p);
std::size_t workspace_bytes(const Int8MlpForward& p);

/// Bytes of the packed weights of a layer.
std::size_t int8_packed_bytes(int in, int out);
}  // namespace cpu

}  // namespace hh
