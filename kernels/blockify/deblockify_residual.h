// SPDX-License-Identifier: Apache-2.0
// Block disaggregation fused with a level's last residual addition:
//
//   out[b,i,j,c] = z[b,t,n,c] + s_b * (branch[b,t,n,c] + bias[c])
//
// t and n are as in blockify_layer_norm.h; s_b is the drop-path scale of image b (null: 1).
// Backward: dz is dout in block order, dbranch = s_b * dz, dbias += sum of dbranch over tokens.
// Source: docs/specification.md, section 1, "Level l", step 5.
#pragma once
#include "kernels/blockify/blockify_layer_norm.h"

namespace hh {

template <class T>  // float, bf16 or (GPU) f16
struct DeblockifyResidualForward {
  const T* z = nullptr;                // [B, T, N, C] in
  const T* branch = nullptr;           // [B, T, N, C] in
  const float* bias = nullptr;         // [C] in
  const float* image_scale = nullptr;  // [B] in   may be null
  T* out = nullptr;                    // [B, grid*s, grid*s, C] out
  BlockGrid shape;

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    shape.validate("deblockify_residual");
    HH_PRECONDITION(shape.images == 0 || (z && branch && bias && out),
                    "deblockify_residual: an array is null");
  }
  Work work() const { return {.bytes = 3.0 * sizeof(T) * double(shape.tokens()) * shape.channels}; }
};

template <class T>
struct DeblockifyResidualBackward {
  const T* dout = nullptr;             // [B, grid*s, grid*s, C] in
  const float* image_scale = nullptr;  // [B] in   may be null
  T* dz = nullptr;                     // [B, T, N, C] out
  T* dbranch = nullptr;    // [B, T, N, C] out  null exactly when image_scale is: it equals dz
  float* dbias = nullptr;  // [C] in/out  added to: sums of dbranch before its rounding to T
  BlockGrid shape;
  void* workspace = nullptr;    // workspace_bytes(*this), aligned to 64
  PartialSums* left = nullptr;  // GPU, host memory: takes the parameters' sums (partial_sums.h)

  void validate() const {
    shape.validate("deblockify_residual");
    HH_PRECONDITION(shape.images == 0 || (dout && dz && dbias),
                    "deblockify_residual: an array is null");
    HH_PRECONDITION(shape.images == 0 || !image_scale == !dbranch,
                    "deblockify_residual: only one of image_scale and dbranch is given");
  }
  Work work() const {
    return {.bytes = (dbranch ? 3.0 : 2.0) * sizeof(T) * double(shape.tokens()) * shape.channels};
  }
};

namespace cpu {
/// Return when done; the same bits for any number of threads.
template <class T>
void run(const DeblockifyResidualForward<T>& p);
template <class T>
void run(const DeblockifyResidualBackward<T>& p);
template <class T>
std::size_t workspace_bytes(const DeblockifyResidualBackward<T>& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
template <class T>
void run(const DeblockifyResidualForward<T>& p, StreamHandle stream);
template <class T>
void run(const DeblockifyResidualBackward<T>& p, StreamHandle stream);
template <class T>
std::size_t workspace_bytes(const DeblockifyResidualBackward<T>& p);
template <class T>
std::size_t partial_sums_bytes(const DeblockifyResidualBackward<T>& p);
}  // namespace gpu

}  // namespace hh
