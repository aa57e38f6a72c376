// SPDX-License-Identifier: Apache-2.0
// Exact GELU of a float32, v Phi(v), and its derivative. Phi comes from its upper tail Q(a) = 1 -
// Phi(a), a = |v|, as 2 to the power of a polynomial, which has no branch and needs a third of
// erff's instructions. Q errs by 1 unit of 2^-24, absolutely; where Q is small its logarithm's
// error matters little.
#pragma once
#include "kernels/core/device.cuh"

namespace hh::gpu {

/// Q(a) = 1 - Phi(a), a >= 0. The polynomial is a minimax fit to log2 Q made for this file,
/// weighted by Q, which is what an error of the logarithm is multiplied by; past a = 6.5 it only
/// falls.
__device__ inline float upper_tail(float a) {
  float y = -0x1.740f72p-19f;
  y = fmaf(y, a, 0x1.43f9d8p-15f);
  y = fmaf(y, a, -0x1.7ed502p-13f);
  y = fmaf(y, a, -0x1.31e830p-13f);
  y = fmaf(y, a, 0x1.cfb2aap-8f);
  y = fmaf(y, a, -0x1.ae1f06p-5f);
  y = fmaf(y, a, -0x1.d639d0p-2f);
  y = fmaf(y, a, -0x1.26aedep+0f);
  return fast_exp2(fmaf(y, a, -1.0f));
}

__device__ inline float gelu(float v) {
  return fmaf(-fabsf(v), upper_tail(fabsf(v)), fmaxf(v, 0.0f));
}

/// Phi(v) + v phi(v)
__device__ inline float gelu_slope(float v) {
  constexpr float kInverseSqrtTwoPi = 0.39894228040143268f, kHalfLog2E = 0.72134752044448170f;
  const float tail = upper_tail(fabsf(v));
  const float below = v > 0 ? 1.0f - tail : tail;
  return fmaf(v * kInverseSqrtTwoPi, fast_exp2(v * v * -kHalfLog2E), below);
}

}  // namespace hh::gpu
