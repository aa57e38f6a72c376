// Block disaggregation fused with a level's last residual addition:
//
//   out[b,i,j,c] = z[b,t,n,c] + s_b * (branch[b,t,n,c] + bias[c])     t, n as in
//   blockify_layer_norm.h
//
// s_b is the drop-path scale of image b (null: 1).
// Backward: dz is dout in block order, dbranch = s_b * dz, dbias += sum of dbranch over tokens.
// Source: spec section 1, "Level l", step 5.
#pragma once
#include "kernels/blockify/blockify_layer_norm.h"

namespace hh {

template <class T>  // float or bf16
struct DeblockifyResidualForward {
  const T* z = nullptr;                // [B, T, N, C] in
  const T* branch = nullptr;           // [B, T, N, C] in
  const float* bias = nullptr;         // [C] in
  const float* image_scale = nullptr;  // [B] in   may be null
  T* out = nullptr;                    // [B, grid*s, grid*s, C] out
  BlockGrid shape;

  void validate() const;
};

template <class T>
struct DeblockifyResidualBackward {
  const T* dout = nullptr;             // [B, grid*s, grid*s, C] in
  const float* image_scale = nullptr;  // [B] in   may be null
  T* dz = nullptr;                     // [B, T, N, C] out
  T* dbranch = nullptr;                // [B, T, N, C] out  null when image_scale is: it equals dz
  float* dbias = nullptr;              // [C] in/out  added to
  BlockGrid shape;
  void* workspace = nullptr;

  void validate() const;
};

namespace cpu {
template <class T>
void deblockify_residual_forward(const DeblockifyResidualForward<T>& p);
template <class T>
void deblockify_residual_backward(const DeblockifyResidualBackward<T>& p);
template <class T>
std::size_t workspace_bytes(const DeblockifyResidualBackward<T>& p);
}  // namespace cpu

}  // namespace hh
