// SPDX-License-Identifier: Apache-2.0
// Idea    Both products on tensor cores (mma.sync): a warp has 16 queries and passes over the
//         keys 16 at a time. All of k and v of the head lie in shared memory, in bf16.
// Gains   An instruction is 64 multiply-adds a lane instead of one; a block fetches no key
//         twice.
// Costs   Rows of 64 bytes: the lanes that read k meet in 8 of the 32 banks. v is read 2 bytes
//         at a time, and so are both from global memory.
#pragma once
#include "bench/ladder/attention_tiles.cuh"

namespace hh::ladder {

/// Two planes of rows in shared memory, read an element or two at a time.
struct PlainOperands {
  const bf16 *k, *v;

  __device__ void keys(int first, int half, unsigned (&b)[4]) const {
    const int lane = int(threadIdx.x) % gpu::kWarpSize, g = lane / 4, t = lane % 4;
    const bf16* row = k + (first + half * 8 + g) * kHeadDim + 2 * t;
#pragma unroll
    for (int i = 0; i < 4; ++i) b[i] = *reinterpret_cast<const unsigned*>(row + 8 * i);
  }
  __device__ void values(int first, int part, unsigned (&b)[4]) const {
    const int lane = int(threadIdx.x) % gpu::kWarpSize, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bf16* at = v + (first + i % 2 * 8 + 2 * t) * kHeadDim + part * 16 + i / 2 * 8 + g;
      b[i] = at[0].bits | unsigned(at[kHeadDim].bits) << 16;
    }
  }
};

static __global__ void attention_tensor_cores_kernel(const Attention p) {
  extern __shared__ uint4 memory[];
  const int n = p.shape.tokens, padded = gpu::ceil_div(n, 16) * 16;
  bf16* k = reinterpret_cast<bf16*>(memory);
  bf16* v = k + padded * kHeadDim;
  const AttentionHead head(p.shape, blockIdx.x);
  // Zeros past the last token: their weight is 0, and 0 times what lay there might be NaN.
  for (int i = threadIdx.x; i < padded * kHeadDim; i += blockDim.x) {
    const int token = i / kHeadDim, e = i % kHeadDim;
    const bf16* from = p.qkv + head.q(min(token, n - 1)) + head.channels() + e;
    k[i] = token < n ? from[0] : bf16{};
    v[i] = token < n ? from[head.channels()] : bf16{};
  }
  __syncthreads();
  for (int tile = int(threadIdx.x) / gpu::kWarpSize; tile * 16 < n;
       tile += int(blockDim.x) / gpu::kWarpSize) {
    attend_queries(p, head, tile, PlainOperands{k, v});
  }
}

inline void attention_tensor_cores(const Attention& p, StreamHandle stream) {
  const std::size_t rows = std::size_t(gpu::ceil_div(p.shape.tokens, 16)) * 16;
  gpu::launch(attention_tensor_cores_kernel, attention_instances(p),
              attention_warps(p) * gpu::kWarpSize, 2 * rows * kHeadDim * sizeof(bf16), stream, p);
}

}  // namespace hh::ladder
