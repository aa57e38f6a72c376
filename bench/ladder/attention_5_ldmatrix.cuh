// SPDX-License-Identifier: Apache-2.0
// Idea    k and v come by cp.async, 16 bytes at a time and past the registers; ldmatrix hands
//         four 8 x 8 matrices to a warp, those of v transposed; rows are 80 bytes apart, so
//         that eight of them lie on different banks.
// Gains   One shared-memory instruction, hardly a conflict, where rung 4 has four or eight.
// Costs   A block has one head, whose elements of out are 2 bytes, H apart: a sector each. The
//         product's kernel gives a block the heads that share sectors, puts them together in
//         shared memory and writes whole rows; packs small windows; and loads the next stage
//         while it computes.
#pragma once
#include "bench/ladder/attention_tiles.cuh"

namespace hh::ladder {

constexpr int kPitch = kHeadDim + 8;  // elements from row to row

struct MatrixOperands {
  unsigned k, v;  // in shared memory

  __device__ void keys(int first, int half, unsigned (&b)[4]) const {
    const int lane = int(threadIdx.x) % gpu::kWarpSize;
    gpu::load_matrices(b, k + 2 * ((first + half * 8 + lane % 8) * kPitch + lane / 8 * 8));
  }
  __device__ void values(int first, int part, unsigned (&b)[4]) const {
    const int lane = int(threadIdx.x) % gpu::kWarpSize;
    gpu::load_transposed(b, v + 2 * ((first + lane % 16) * kPitch + part * 16 + lane / 16 * 8));
  }
};

static __global__ void attention_ldmatrix_kernel(const Attention p) {
  extern __shared__ uint4 memory[];
  constexpr int kPacks = kHeadDim / 8;
  const int n = p.shape.tokens, padded = gpu::ceil_div(n, 16) * 16;
  const unsigned k = gpu::shared_address(memory), v = k + 2 * padded * kPitch;
  const AttentionHead head(p.shape, blockIdx.x);
  for (int i = threadIdx.x; i < padded * kPacks; i += blockDim.x) {
    const int token = i / kPacks, e = i % kPacks * 8;
    const unsigned to = 2 * (token * kPitch + e);
    if (token < n) {
      const bf16* from = p.qkv + head.q(token) + head.channels() + e;
      gpu::copy16_async(k + to, from);
      gpu::copy16_async(v + to, from + head.channels());
    } else {
      const unsigned zeros[4] = {};
      gpu::store<16>(zeros, k + to);
      gpu::store<16>(zeros, v + to);
    }
  }
  gpu::wait_copies();
  __syncthreads();
  for (int tile = int(threadIdx.x) / gpu::kWarpSize; tile * 16 < n;
       tile += int(blockDim.x) / gpu::kWarpSize) {
    attend_queries(p, head, tile, MatrixOperands{k, v});
  }
}

inline void attention_ldmatrix(const Attention& p, StreamHandle stream) {
  const std::size_t rows = std::size_t(gpu::ceil_div(p.shape.tokens, 16)) * 16;
  gpu::launch(attention_ldmatrix_kernel, attention_instances(p),
              attention_warps(p) * gpu::kWarpSize, 2 * rows * kPitch * sizeof(bf16), stream, p);
}

}  // namespace hh::ladder
