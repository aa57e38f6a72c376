// The end of an interaction module: add the global path, normalise, pool.
//
//   sum[b,i,j,c] = local[b,i,j,c] + up(glob)[b,i,j,c]       up: bilinear, factor s, align_corners =
//   false norm = LayerNorm(sum) over c (eps as given) out[b,i,j,c] = max over the 3x3 window at
//   (2i, 2j) of norm      stride 2, padding 1 that never wins
//
// up reads source position max(0, (i + 0.5)/s - 0.5), separably. The first of equal maxima wins, in
// row-major order of the window, as in PyTorch. argmax[b,i,j,c] = 3*u + v of the winner, u, v in
// 0..2: input row 2i - 1 + u, column 2j - 1 + v. sum and norm are not stored: backward recomputes
// them.
//
// Backward: dout goes to the winners, through the LayerNorm to dlocal = dsum, and dglob is the
// transpose of up. Source: spec section 1, "Interactive Module" and "Bilinear".
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"

namespace hh {

struct InteractionMergeShape {
  int images = 0;    // B >= 0
  int grid = 1;      // m: side of the global map (4 or 2 in the network), >= 1
  int factor = 1;    // s >= 1; local images are h x h with h = m*s, which must be even
  int channels = 0;  // C >= 1
  int side() const { return grid * factor; }
};

template <class T>  // float or bf16
struct InteractionMergeForward {
  const T* local = nullptr;        // [B, h, h, C] in
  const T* glob = nullptr;         // [B, m, m, C] in
  const float* gamma = nullptr;    // [C] in
  const float* beta = nullptr;     // [C] in
  T* out = nullptr;                // [B, h/2, h/2, C] out
  std::uint8_t* argmax = nullptr;  // [B, h/2, h/2, C] out  null in inference
  float* mean = nullptr;           // [B, h, h] out  null exactly when argmax is
  float* rstd = nullptr;           // [B, h, h] out  null exactly when argmax is
  InteractionMergeShape shape;
  float eps = 1e-6f;
  void* workspace = nullptr;

  void validate() const;
};

template <class T>
struct InteractionMergeBackward {
  const T* dout = nullptr;               // [B, h/2, h/2, C] in
  const std::uint8_t* argmax = nullptr;  // [B, h/2, h/2, C] in
  const T* local = nullptr;              // [B, h, h, C] in
  const T* glob = nullptr;               // [B, m, m, C] in
  const float* gamma = nullptr;          // [C] in
  const float* mean = nullptr;           // [B, h, h] in
  const float* rstd = nullptr;           // [B, h, h] in
  T* dlocal = nullptr;                   // [B, h, h, C] out
  T* dglob = nullptr;                    // [B, m, m, C] out
  float* dgamma = nullptr;               // [C] in/out  added to
  float* dbeta = nullptr;                // [C] in/out  added to
  InteractionMergeShape shape;
  void* workspace = nullptr;

  void validate() const;
};

namespace cpu {
template <class T>
void interaction_merge_forward(const InteractionMergeForward<T>& p);
template <class T>
void interaction_merge_backward(const InteractionMergeBackward<T>& p);
template <class T>
std::size_t workspace_bytes(const InteractionMergeForward<T>& p);
template <class T>
std::size_t workspace_bytes(const InteractionMergeBackward<T>& p);
}  // namespace cpu

}  // namespace hh
