// SPDX-License-Identifier: Apache-2.0
// A warp's 16 queries on tensor cores, for rungs 4 and 5, which differ in how k and v come to
// shared memory and from there to the instruction. Fragments: see kernels/core/mma.cuh.
#pragma once
#include <algorithm>

#include "bench/ladder/attention_rows.cuh"

namespace hh::ladder {

constexpr int kMostWarps = 8;  // of a block, which has one head of one window

inline int attention_warps(const Attention& p) {
  return std::min(kMostWarps, gpu::ceil_div(p.shape.tokens, 16));
}

/// Turns scores s of 16 further keys into exp2(s - largest so far), and shrinks the sum and the outputs
/// of the keys before to the new largest. Of rows g and g + 8: a row's 16 scores are in four lanes.
__device__ inline void online_softmax(float (&s)[2][4], float (&top)[2], float (&sum)[2],
                                      float (&out)[kHeadDim / 8][4]) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float larger = fmaxf(fmaxf(s[0][2 * r], s[0][2 * r + 1]), fmaxf(s[1][2 * r], s[1][2 * r + 1]));
    larger = fmaxf(larger, __shfl_xor_sync(gpu::kFullMask, larger, 1));
    larger = fmaxf(larger, __shfl_xor_sync(gpu::kFullMask, larger, 2));
    larger = fmaxf(larger, top[r]);
    const float shrink = gpu::fast_exp2(top[r] - larger);
    top[r] = larger;
    sum[r] *= shrink;
#pragma unroll
    for (auto& column : out) column[2 * r] *= shrink, column[2 * r + 1] *= shrink;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int i = 2 * r; i < 2 * r + 2; ++i) {
        s[half][i] = gpu::fast_exp2(s[half][i] - larger);
        sum[r] += s[half][i];
      }
    }
  }
}

/// Queries 16 tile to 16 tile + 15. Operands gives the right operands of both products, of the 16
/// keys from `first` on:
///   keys(first, half, b)   8 of them: b[2s], b[2s + 1] are e = 16s to 16s + 15
///   values(first, part, b) all: b[0], b[1] are e = 16 part to 16 part + 7, b[2], b[3] the 8 after
template <class Operands>
__device__ void attend_queries(const Attention& p, const AttentionHead& head, int tile,
                               const Operands& operands) {
  const int lane = int(threadIdx.x) % gpu::kWarpSize, g = lane / 4, t = lane % 4;
  const int n = p.shape.tokens;
  unsigned q[2][4];  // [step][register]; past the last token the last one again
#pragma unroll
  for (int s = 0; s < 2; ++s) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int token = min(tile * 16 + g + i % 2 * 8, n - 1);
      q[s][i] =
          *reinterpret_cast<const unsigned*>(p.qkv + head.q(token) + s * 16 + i / 2 * 8 + 2 * t);
    }
  }
  // The scale and log2(e) are one factor, so that exp is exp2.
  const float scale = 1.44269504f * rsqrtf(float(kHeadDim));
  float top[2] = {-INFINITY, -INFINITY}, sum[2] = {}, out[kHeadDim / 8][4] = {};
  for (int first = 0; first < n; first += 16) {
    float s[2][4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      unsigned b[4];
      operands.keys(first, half, b);
      gpu::mma<bf16>(s[half], q[0], b[0], b[1]);
      gpu::mma_add<bf16>(s[half], q[1], b[2], b[3]);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const bool inside = first + half * 8 + 2 * t + i % 2 < n;
        s[half][i] = inside ? s[half][i] * scale : -INFINITY;
      }
    }
    online_softmax(s, top, sum, out);
    unsigned weights[4];  // the scores' fragment is, rounded, that of a left operand
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      weights[i] = gpu::pack_halves<bf16>(s[i / 2][i % 2 * 2], s[i / 2][i % 2 * 2 + 1]);
    }
#pragma unroll
    for (int part = 0; part < kHeadDim / 16; ++part) {
      unsigned b[4];
      operands.values(first, part, b);
      gpu::mma_add<bf16>(out[2 * part], weights, b[0], b[1]);
      gpu::mma_add<bf16>(out[2 * part + 1], weights, b[2], b[3]);
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    sum[r] += __shfl_xor_sync(gpu::kFullMask, sum[r], 1);
    sum[r] += __shfl_xor_sync(gpu::kFullMask, sum[r], 2);
    const int token = tile * 16 + g + 8 * r;
    if (token >= n) continue;
#pragma unroll
    for (int c = 0; c < kHeadDim / 8; ++c) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        p.out[head.out(token, c * 8 + 2 * t + i)] = gpu::narrow<bf16>(out[c][2 * r + i] / sum[r]);
      }
    }
    if (t == 0) p.lse[head.lse(token)] = 0.693147181f * top[r] + logf(sum[r]);
  }
}

}  // namespace hh::ladder
