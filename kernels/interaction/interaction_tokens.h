// The tokens of the interaction attention. The reference RESHAPES its channels-first map (C, m, m)
// to (M, C), M = m*m, without permuting it, so with our channels-last map z[b, position, channel]:
//
//   tokens[b,t,c] = z[b, f % M, f / M] + pos[t,c],    f = t*C + c
//
// Backward: dz[b, f % M, f / M] = dtokens[b,t,c];  dpos[t,c] += sum_b dtokens[b,t,c].
// Source: spec section 1, "Interactive Attention"; section 6, oddity 2.
#pragma once
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"

namespace hh {

template <class T>  // float or bf16
struct InteractionTokensForward {
  const T* z = nullptr;        // [B, M, C] in
  const float* pos = nullptr;  // [M, C] in
  T* tokens = nullptr;         // [B, M, C] out
  int images = 0;              // B >= 0
  int positions = 1;           // M, 1 to 64
  int channels = 0;            // C >= 1

  void validate() const;
};

template <class T>
struct InteractionTokensBackward {
  const T* dtokens = nullptr;  // [B, M, C] in
  T* dz = nullptr;             // [B, M, C] out
  float* dpos = nullptr;       // [M, C] in/out  added to
  int images = 0, positions = 1, channels = 0;

  void validate() const;
};

namespace cpu {
template <class T>
void interaction_tokens_forward(const InteractionTokensForward<T>& p);
template <class T>
void interaction_tokens_backward(const InteractionTokensBackward<T>& p);
}  // namespace cpu

}  // namespace hh
