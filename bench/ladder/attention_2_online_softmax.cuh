// SPDX-License-Identifier: Apache-2.0
// Idea    One kernel, a thread a query. q and the running o, sum and maximum are in registers;
//         when a larger score comes, what there is of o and the sum is multiplied by exp(old -
//         new).
// Gains   The N x N matrix is never stored.
// Costs   Each thread fetches all of k and v, two bytes at a time.
#pragma once
#include "bench/ladder/attention_rows.cuh"

namespace hh::ladder {

/// What a query has seen so far.
struct OnlineSoftmax {
  float top = -INFINITY, sum = 0, out[kHeadDim] = {};

  /// A key's score and the row of v; v(e) gives its elements.
  template <class V>
  __device__ void see(float score, const V& v) {
    const float larger = fmaxf(top, score);
    const float shrink = expf(top - larger), weight = expf(score - larger);
    top = larger;
    sum = sum * shrink + weight;
#pragma unroll
    for (int e = 0; e < kHeadDim; ++e) out[e] = out[e] * shrink + weight * v(e);
  }
  __device__ void store(const Attention& p, const AttentionHead& head, int query) const {
#pragma unroll
    for (int e = 0; e < kHeadDim; ++e) {
      p.out[head.out(query, e)] = gpu::narrow<bf16>(out[e] / sum);
    }
    p.lse[head.lse(query)] = top + logf(sum);
  }
};

constexpr int kQueries = 64;  // of a block: a thread each

/// q of a token, times d^-0.5.
__device__ inline void load_query(const bf16* from, float (&q)[kHeadDim]) {
#pragma unroll
  for (int e = 0; e < kHeadDim; ++e) q[e] = gpu::widen(from[e]) * rsqrtf(float(kHeadDim));
}

static __global__ void __launch_bounds__(kQueries)
    attention_online_softmax_kernel(const Attention p) {
  const int n = p.shape.tokens, tiles = gpu::ceil_div(n, kQueries);
  const AttentionHead head(p.shape, blockIdx.x / tiles);
  const int query = int(blockIdx.x % tiles) * kQueries + int(threadIdx.x);
  if (query >= n) return;
  float q[kHeadDim];
  load_query(p.qkv + head.q(query), q);
  OnlineSoftmax softmax;
  for (int m = 0; m < n; ++m) {
    const bf16* k = p.qkv + head.q(m) + head.channels();
    const bf16* v = k + head.channels();
    float s = 0;
#pragma unroll
    for (int e = 0; e < kHeadDim; ++e) s += q[e] * gpu::widen(k[e]);
    softmax.see(s, [&](int e) { return gpu::widen(v[e]); });
  }
  softmax.store(p, head, query);
}

inline void attention_online_softmax(const Attention& p, StreamHandle stream) {
  gpu::launch(attention_online_softmax_kernel,
              attention_instances(p) * gpu::ceil_div(p.shape.tokens, kQueries), kQueries, 0, stream,
              p);
}

}  // namespace hh::ladder
