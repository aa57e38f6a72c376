// SPDX-License-Identifier: Apache-2.0
// Idea    The block brings 32 rows of k and v at a time to shared memory, widened to float32,
//         where its threads read them, all the same ones at once (a broadcast).
// Gains   k and v come from global memory once a block, 16 bytes at a time, rather than once a
//         warp and 2 bytes at a time.
// Costs   Every product is an instruction of a thread: the ordinary pipelines bound it.
#pragma once
#include "bench/ladder/attention_2_online_softmax.cuh"

namespace hh::ladder {

static __global__ void __launch_bounds__(kQueries)
    attention_shared_tiles_kernel(const Attention p) {
  constexpr int kKeys = 32, kPacks = kHeadDim / 8;
  __shared__ float keys[kKeys][kHeadDim], values[kKeys][kHeadDim];
  const int n = p.shape.tokens, tiles = gpu::ceil_div(n, kQueries);
  const AttentionHead head(p.shape, blockIdx.x / tiles);
  const int query = int(blockIdx.x % tiles) * kQueries + int(threadIdx.x);
  float q[kHeadDim];
  load_query(p.qkv + head.q(min(query, n - 1)), q);
  OnlineSoftmax softmax;
  for (int first = 0; first < n; first += kKeys) {
    const int count = min(kKeys, n - first);
    __syncthreads();  // the tile before has been read
    for (int i = threadIdx.x; i < count * kPacks; i += kQueries) {
      const int m = i / kPacks, e = i % kPacks * 8;
      const bf16* k = p.qkv + head.q(first + m) + head.channels() + e;
      float pack[8];
      gpu::load_floats(k, pack);
#pragma unroll
      for (int j = 0; j < 8; ++j) keys[m][e + j] = pack[j];
      gpu::load_floats(k + head.channels(), pack);
#pragma unroll
      for (int j = 0; j < 8; ++j) values[m][e + j] = pack[j];
    }
    __syncthreads();
    for (int m = 0; m < count; ++m) {
      float s = 0;
#pragma unroll
      for (int e = 0; e < kHeadDim; ++e) s += q[e] * keys[m][e];
      softmax.see(s, [&](int e) { return values[m][e]; });
    }
  }
  if (query < n) softmax.store(p, head, query);
}

inline void attention_shared_tiles(const Attention& p, StreamHandle stream) {
  gpu::launch(attention_shared_tiles_kernel,
              attention_instances(p) * gpu::ceil_div(p.shape.tokens, kQueries), kQueries, 0, stream,
              p);
}

}  // namespace hh::ladder
