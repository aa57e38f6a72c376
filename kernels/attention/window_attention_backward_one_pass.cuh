// SPDX-License-Identifier: Apache-2.0
// Window attention backward in one pass over P, for 16-bit heads 32 wide and windows of 129 to 256
// tokens, where dS of a part of the queries fits in shared memory.
//
// Mapping   A block takes some heads of a window, one after the other. A warp has two tiles of 16
//           keys and goes over the queries for dk and dv, as in the second of the two passes
//           (window_attention_backward_mma.cuh), but leaves dS in shared memory. After every
//           `query_tiles` tiles of queries the warps make dq of these from it, a tile each: five
//           products and one exponential for each score, where two passes take seven and two.
// Traffic   as in two passes. dS lies in shared memory as the 8x8 matrices that ldmatrix
//           transposes: neither writing nor reading it has bank conflicts.
// Numerics  as in two passes; dq is summed over the keys in the same order.
#pragma once
#include "kernels/attention/window_attention_backward_mma.cuh"

namespace hh::gpu {
namespace attention_mma {

constexpr int kScoreTileBytes = 512;  // 16 x 16 of 16 bits

/// Planes of dout of all heads; k, v and q of the current one; lse and D; dS.
struct OnePassMemory {
  const Plan& plan;
  int tokens;
  __host__ __device__ int keys() const { return plan.stages * plan.plane_bytes; }
  __host__ __device__ int values() const { return keys() + plan.plane_bytes; }
  __host__ __device__ int queries() const { return values() + plan.plane_bytes; }
  __host__ __device__ int sums() const { return queries() + plan.plane_bytes; }
  __host__ __device__ int tiles() const { return ceil_div(tokens, 16); }
  __host__ __device__ int scores() const { return sums() + tiles() * 16 * int(sizeof(float2)); }
  std::size_t bytes(int query_tiles) const {
    return std::size_t(scores() + query_tiles * tiles() * kScoreTileBytes);
  }
};

/// dS of 16 keys and 16 queries, given transposed and packed, to shared memory as four 8x8 matrices.
__device__ inline void keep_tile(const unsigned (&ds)[4], unsigned to) {
  to += threadIdx.x % kWarpSize * 4;
#pragma unroll
  for (int i = 0; i < 4; ++i) store<4>(&ds[i], to + 128 * i);
}

/// dq of a tile of queries, whose dS with all tiles of keys begins at `scores`.
template <int kD, class T>
__device__ void query_gradients(const TileReader<T, kD>& reader, unsigned scores, unsigned keys,
                                float (&dq)[kD / 8][4]) {
  scores += threadIdx.x % kWarpSize * 16;
  const auto see = [&](const auto& keys_at) {
    unsigned a[4];
    load_transposed(a, scores);
    unsigned ds[4] = {a[0], a[2], a[1], a[3]};
    if constexpr (keys_at.kOfLast) {  // past the last key there are others' gradients
      const int t = int(threadIdx.x) % 4, rows = reader.last_rows();
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int key = 8 * half + 2 * t;
        const unsigned mask = key + 1 < rows ? 0xffffffffu : key < rows ? 0x0000ffffu : 0;
        ds[2 * half] &= mask;
        ds[2 * half + 1] &= mask;
      }
    }
#pragma unroll
    for (int part = 0; part < kD / 16; ++part) {
      unsigned b[4];
      keys_at.columns(part, b);
      mma_add<T>(dq[2 * part], ds, b[0], b[1]);
      mma_add<T>(dq[2 * part + 1], ds, b[2], b[3]);
    }
    scores += kScoreTileBytes;
  };
  auto keys_at = reader.first(keys);
#pragma unroll 1
  for (int tile = 1; tile < reader.tiles(); ++tile) {
    see(keys_at);
    keys_at.advance();
  }
  see(reader.last(keys));
}

template <int kD, int kOwn, class T>
__global__ void __launch_bounds__(kBackwardWarps* kWarpSize, 1)
    window_attention_backward_one_pass_kernel(const __grid_constant__ WindowAttentionBackward<T> p,
                                              const __grid_constant__ Plan plan, int query_tiles,
                                              float scale_log2, float* delta) {
  extern __shared__ uint4 shared[];
  char* memory = reinterpret_cast<char*>(shared);
  const unsigned base = shared_address(memory);
  const Block block(p.shape, plan);
  const OnePassMemory place{plan, block.tokens()};
  const TileReader<T, kD> reader(block.tokens());
  const unsigned keys = base + place.keys(), values = base + place.values(),
                 queries = base + place.queries(), sums = base + place.sums(),
                 scores = base + place.scores();
  const int warp = int(threadIdx.x) / kWarpSize, warps = int(blockDim.x) / kWarpSize;
  const auto copy = [&](int instance, int which, unsigned to) {
    if (instance < block.instances) copy_stage<kD>(p, block, plan, instance, which, to);
  };

  copy(0, 0, queries);
  copy(0, 1, keys);
  // D of the block's heads fits where v will be.
  auto* const d = reinterpret_cast<float*>(memory + place.values());
  separate_dout<kD>(p, block, base, d, delta);
  copy(0, 2, values);

  for (int instance = 0; instance < block.instances; ++instance) {
    for (int row = int(threadIdx.x); row < reader.tiles() * 16; row += int(blockDim.x)) {
      const std::int64_t at =
          block.first_sum() + instance * block.tokens() + min(row, block.tokens() - 1);
      store_sums(p.lse[at] * -kLog2e, delta[at], row, block.tokens(), sums);
    }
    wait_copies();
    __syncthreads();
    const Own own{instance, warp * kOwn, reader.tiles()};
    const unsigned dout = base + instance * plan.plane_bytes;
    RowFragment<T, kD> k[kOwn], v[kOwn];
#pragma unroll
    for (int m = 0; m < kOwn; ++m) {
      k[m] = reader.rows(keys, own.tile(m));
      v[m] = reader.rows(values, own.tile(m));
    }
    __syncthreads();
    copy(instance + 1, 2, values);
    KeyGradients<kD, kOwn> gradients;
    for (int first = 0; first < reader.tiles(); first += query_tiles) {
      const int end = min(first + query_tiles, reader.tiles());
      add_queries(first, end, reader, queries, dout, plane_mask<T>(instance), scale_log2, sums, k,
                  v, &gradients, [&](int tile, const unsigned(&ds)[kOwn][4]) {
                    const int row = (tile - first) * reader.tiles() + own.first;
#pragma unroll
                    for (int m = 0; m < kOwn; ++m) {
                      if (own.has(m)) keep_tile(ds[m], scores + (row + m) * kScoreTileBytes);
                    }
                  });
      __syncthreads();
      if (end == reader.tiles()) copy(instance + 1, 0, queries);
      for (int tile = first + warp; tile < end; tile += warps) {
        float dq[kD / 8][4] = {};
        query_gradients(reader, scores + (tile - first) * reader.tiles() * kScoreTileBytes, keys,
                        dq);
        store_rows<kD>(dq, scale_log2 * kLn2, tile, block.tokens(), p.dqkv + block.q(instance),
                       3 * plan.channels);
      }
      __syncthreads();
    }
    copy(instance + 1, 1, keys);
    gradients.store(p, block, own, scale_log2);
  }
}

/// False when the shape or the GPU's shared memory isn't for this kernel.
template <int kD, int kOwn, class T>
bool backward_in_one_pass(const WindowAttentionBackward<T>& p, StreamHandle stream) {
  const int tokens = p.shape.tokens, tiles = ceil_div(tokens, 16);
  if (tokens <= 128 || ceil_div(tiles, kOwn) > kBackwardWarps) return false;
  const int fewest = ceil_div(tiles, 4);  // of query_tiles: with fewer, warps idle
  const auto bytes = [&](const Plan& of, int query_tiles) {
    return OnePassMemory{of, tokens}.bytes(query_tiles);
  };
  Plan plan;
  if (!make_plan<T>(
          p.shape, kBackwardWarps, kOwn, [&](const Plan& of) { return bytes(of, fewest); },
          &plan)) {
    return false;
  }
  const auto limit = std::size_t(device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  int parts = 1;
  while (bytes(plan, ceil_div(tiles, parts)) > limit) ++parts;
  const int query_tiles = ceil_div(tiles, parts);
  launch(window_attention_backward_one_pass_kernel<kD, kOwn, T>, blocks(p.shape, plan),
         plan.threads, bytes(plan, query_tiles), stream, p, plan, query_tiles,
         kLog2e / std::sqrt(float(kD)), static_cast<float*>(p.workspace));
  return true;
}

}  // namespace attention_mma
}  // namespace hh::gpu
