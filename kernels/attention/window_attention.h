// SPDX-License-Identifier: Apache-2.0
// Multi-head self-attention inside windows (the blocks of an image), never storing the N x N
// matrix:
//
//   S[n,m] = d^-0.5 * sum_e q[n,e] k[m,e],   P = softmax over m,   o[n,e] = sum_m P[n,m] v[m,e]
//   out[w, n, e*H + h] = o of head h                       <- heads interleaved LAST, as in NesT
//   lse[w,h,n] = log sum_m exp(S[n,m])                     saved for backward
//
// The row of qkv for token n is [q of head 0 | q of head 1 | ... | k of head 0 | ... | v ...], each
// d wide, as the QKV GEMM leaves it: q of head h is at h*d, k at H*d + h*d, v at 2*H*d + h*d.
// Backward recomputes P = exp(S - lse):
//   dv = P^T do,  dP = do v^T,  dS = P * (dP - D) with D[n] = sum_e do[n,e] o[n,e],
//   dq = d^-0.5 dS k,  dk = d^-0.5 dS^T q
// With N = 1, P = 1: out is v, and dq and dk are exactly zero (section 6, oddity 4).
// Source: docs/specification.md, section 1, "attn" and "Interactive Attention"; Dao and others,
// arXiv 2307.08691.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"
#include "kernels/core/work.h"

namespace hh {

struct WindowAttentionShape {
  std::int64_t windows = 0;  // W = B*T >= 0
  int tokens = 1;            // N, 1 to 1024
  int heads = 1;             // H >= 1
  int head_dim = 32;         // d, 1 to 128; 32 and 64 are the tuned cases
  int channels() const { return heads * head_dim; }
  double rows() const { return double(windows) * tokens * heads; }  // of lse
  double values() const { return rows() * head_dim; }               // of out
  /// Operations of one matrix product: N*N*d multiplications and additions a window and head.
  double product() const { return 2 * values() * tokens; }

  static constexpr int kMaxTokens = 1024, kMaxHeadDim = 128;

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(windows >= 0, "window_attention: windows = " << windows);
    HH_PRECONDITION(tokens >= 1 && tokens <= kMaxTokens, "window_attention: tokens = " << tokens);
    HH_PRECONDITION(heads >= 1, "window_attention: heads = " << heads);
    HH_PRECONDITION(head_dim >= 1 && head_dim <= kMaxHeadDim,
                    "window_attention: head_dim = " << head_dim);
  }
};

template <class T>  // float, bf16 or (GPU) f16; scores and sums are float32
struct WindowAttentionForward {
  const T* qkv = nullptr;  // [W, N, 3*H*d] in
  T* out = nullptr;        // [W, N, H*d] out
  float* lse = nullptr;    // [W, H, N] out  null in inference
  WindowAttentionShape shape;
  void* workspace = nullptr;  // workspace_bytes(*this), aligned to 64

  void validate() const {
    shape.validate();
    HH_PRECONDITION(shape.windows == 0 || (qkv && out), "window_attention: an array is null");
  }
  Work work() const {
    return {.bytes = shape.values() * 4 * sizeof(T) + (lse ? 4 * shape.rows() : 0),
            .flops = 2 * shape.product(),
            .half_products = sizeof(T) == 2};
  }
};

template <class T>
struct WindowAttentionBackward {
  const T* qkv = nullptr;      // [W, N, 3*H*d] in
  const T* out = nullptr;      // [W, N, H*d] in
  const float* lse = nullptr;  // [W, H, N] in
  const T* dout = nullptr;     // [W, N, H*d] in
  T* dqkv = nullptr;           // [W, N, 3*H*d] out
  WindowAttentionShape shape;
  void* workspace = nullptr;  // workspace_bytes(*this), aligned to 64

  void validate() const {
    shape.validate();
    HH_PRECONDITION(shape.windows == 0 || (qkv && out && lse && dout && dqkv),
                    "window_attention: an array is null");
  }
  Work work() const {
    return {.bytes = shape.values() * 8 * sizeof(T) + 4 * shape.rows(),
            .flops = 5 * shape.product(),
            .half_products = sizeof(T) == 2};
  }
};

namespace cpu {
/// Return when done; the same bits for any number of threads. The workspace is scratch for each
/// thread, so its size holds for the num_threads() of the moment it was asked for.
template <class T>
void run(const WindowAttentionForward<T>& p);
template <class T>
void run(const WindowAttentionBackward<T>& p);
template <class T>
std::size_t workspace_bytes(const WindowAttentionForward<T>& p);
template <class T>
std::size_t workspace_bytes(const WindowAttentionBackward<T>& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time, and for a window whatever others are beside it.
template <class T>
void run(const WindowAttentionForward<T>& p, StreamHandle stream);
template <class T>
void run(const WindowAttentionBackward<T>& p, StreamHandle stream);
template <class T>
std::size_t workspace_bytes(const WindowAttentionForward<T>& p);
template <class T>
std::size_t workspace_bytes(const WindowAttentionBackward<T>& p);
}  // namespace gpu

}  // namespace hh
