// SPDX-License-Identifier: Apache-2.0
// Window attention backward on tensor cores, for heads 32 or 64 wide, in two passes over P.
//
// Mapping   A block takes some heads of a window, or of several small windows. First it separates
//           the heads of dout into planes and computes D. Then, in stages, k and v of a stage are
//           in shared memory, and a warp makes two passes with kOwn tiles of 16 rows of one
//           instance: as queries, over all keys, for dq; then, with q in shared memory (in k's
//           place if need be), as keys, over all queries, for dk and dv. Both recompute P and dS,
//           so a result is summed by one warp, in order, without atomics.
// Traffic   qkv, out, dout and dqkv once each, if the block has all heads that share sectors; D
//           goes through the workspace.
// Numerics  Scores, P, dS and sums in float32; for products with dout, k and q, P and dS are
//           rounded to a T of 16 bits. Products of float: window_attention_fragments.cuh.
#pragma once
#include "kernels/attention/window_attention_fragments.cuh"

namespace hh::gpu {
namespace attention_mma {

/// Warps of a block at most: they need more than 128 registers each.
constexpr int kBackwardWarps = 8;

/// Whether q has its own planes. Else it replaces k: rows of 64 bytes are for shapes where that
/// lets a block have all heads that share sectors.
template <class T, int kD>
constexpr bool kOwnQueries = Rows<T, kD>::kBytes > 64;

/// Planes of dout of all stages; `arrays` of k, v and q of one stage or two; lse and D of a stage.
/// When only one stage of k and v has its own place, odd stages have theirs in the planes of stages
/// 0 and 1 once those are done.
struct BackwardMemory {
  __device__ int keys(int stage) const {  // values stage_bytes after, then queries
    if (stage % 2 == 0) return plan.stages * plan.stage_bytes;
    if (plan.doubled) return (plan.stages + arrays) * plan.stage_bytes;
    return arrays == 2 && stage >= 3 ? 0 : plan.stages * plan.stage_bytes;
  }
  /// lse and D of a stage, sums_bytes() for each instance.
  __host__ __device__ int sums() const {
    return (plan.stages + (plan.doubled ? 2 : 1) * arrays) * plan.stage_bytes;
  }
  __host__ __device__ int sums_bytes() const {
    return ceil_div(tokens, 16) * 16 * int(sizeof(float2));
  }
  /// Whether the copies for the next stage may start before this one is done.
  __device__ bool may_run_ahead(int stage) const {
    return plan.doubled || (arrays == 2 && stage >= 2);
  }
  std::size_t bytes() const { return std::size_t(sums() + plan.stage * sums_bytes()); }
  const Plan& plan;
  int tokens, arrays;
};

/// q, k or v (which = 0, 1, 2) of a stage.
template <int kD, class T>
__device__ void copy_stage(const WindowAttentionBackward<T>& p, const Block& block,
                           const Plan& plan, int stage, int which, unsigned to) {
  const int first = stage * plan.stage, count = min(plan.stage, block.instances - first);
  for_each_chunk<T, kD>(block, count, [&](int plane, int token, int chunk) {
    const int instance = first + plane;
    copy16_async(to + plane * plan.plane_bytes + Rows<T, kD>::offset(token, chunk),
                 p.qkv + block.q(instance) + std::int64_t{token * 3 + which} * plan.channels +
                     chunk * kVector<T>);
  });
}

/// D of the heads of a lane's chunks, whose products of dout and out are v, over the lanes of a
/// row: always in the order of a tree that adds e and e + kD/2, then e and e + kD/4, and so on, so
/// that the bits are the same for all groups of heads. Gives the sum to one or several lanes;
/// returns which of the lane's heads it is, -1 where it is another lane's.
template <class Lane>
__device__ int sum_over_e(const Lane& lane, float (&v)[Lane::kChannels], float* sum) {
  // Lanes that are kOfE or more apart have other e's. As long as a lane has several values, it
  // keeps half of them, and the lane `step` apart the others.
  int index = 0, count = Lane::kChannels;
#pragma unroll
  for (int step = Lane::kRowLanes / 2; step >= Lane::kOfE; step /= 2) {
    if (count == 1) {
      v[0] += __shfl_xor_sync(kFullMask, v[0], step);
      continue;
    }
    count /= 2;
    const bool upper = lane.chunk & step;
#pragma unroll
    for (int k = 0; k < count; ++k) {
      const float sent = upper ? v[k] : v[k + count], kept = upper ? v[k + count] : v[k];
      v[k] = kept + __shfl_xor_sync(kFullMask, sent, step);
    }
    if (upper) index += count;
  }
  // Now the e's of a run, which are the upper bits of the value's index: of other lanes, or of
  // this one when there weren't enough lanes.
  constexpr int kShared = Lane::kRowLanes / Lane::kOfE;
  int step = Lane::kRowLanes / 2;
#pragma unroll
  for (int run = Lane::kRun / 2; run > 0; run /= 2, step /= 2) {
    if (step >= Lane::kOfE) {
#pragma unroll
      for (int k = 0; k < count; ++k) v[k] += __shfl_xor_sync(kFullMask, v[k], step);
    } else {
      count /= 2;
#pragma unroll
      for (int k = 0; k < count; ++k) v[k] += v[k + count];
    }
  }
  *sum = v[0];
  constexpr int kOfSum = Lane::kChannels < kShared ? Lane::kRowLanes / Lane::kChannels : Lane::kOfE;
  const bool first = lane.chunk % kOfSum < Lane::kOfE && index < Lane::kHeads;
  return first ? index : -1;
}

/// Element i of packed ones.
template <class T>
__device__ float element(const unsigned (&packed)[4], int i) {
  if constexpr (sizeof(T) == 4)
    return __uint_as_float(packed[i]);
  else
    return widen_half<T>(packed[i / 2], i % 2);
}

/// Separates the heads of dout into planes; delta[instance, token] = D.
template <class Lane, class T>
__device__ void separate_dout(const WindowAttentionBackward<T>& p, const Block& block,
                              const Lane& lane, unsigned planes, float* delta) {
  lane.for_each_row([&](int row) {
    float sums[2][Lane::kChannels] = {};  // of even pieces and odd ones, in the order of the tree
    int token, instance;
    lane.find(block, row, &token, &instance);
    if (row < lane.rows) {
#pragma unroll
      for (int piece = 0; piece < Lane::kPieces; ++piece) {
        const std::int64_t at = lane.global(block, row, piece);
        unsigned grad[4], out[4];
        load<Lane::kBytes>(grad, p.dout + at);
        load<Lane::kBytes>(out, p.out + at);
#pragma unroll
        for (int i = 0; i < Lane::kChannels; ++i) {
          // Not fused: pieces have other e's in another group.
          float& sum = sums[piece % 2][i];
          sum = __fadd_rn(sum, __fmul_rn(element<T>(grad, i), element<T>(out, i)));
        }
        unsigned to = lane.place(block, planes, token, instance, piece);
#pragma unroll
        for (int k = 0; k < Lane::kHeads; ++k) {
          unsigned run[4];
#pragma unroll
          for (int e = 0; e < Lane::kRun; ++e) {
            const int i = e * Lane::kHeads + k;
            if constexpr (sizeof(T) == 4) {
              run[e] = grad[i];
            } else if (e % 2 == 1) {
              run[e / 2] = pair(grad, i - Lane::kHeads, grad, i);
            }
          }
          if constexpr (Lane::kRunBytes == 2) run[0] = grad[k / 2] >> k % 2 * 16;
          store<Lane::kRunBytes>(run, to);
          to += block.plan.plane_bytes;
        }
      }
    }
#pragma unroll
    for (int i = 0; i < Lane::kChannels; ++i) sums[0][i] += sums[1][i];
    float sum;
    const int head = sum_over_e(lane, sums[0], &sum);
    if (row < lane.rows && head >= 0) delta[(instance + head) * block.tokens() + token] = sum;
  });
}

/// The same for the whole block; D also to `to`, its rows of the workspace. `d` may be used again.
template <int kD, class T>
__device__ void separate_dout(const WindowAttentionBackward<T>& p, const Block& block,
                              unsigned planes, float* d, float* to) {
  with_interleaved<T, kD>(block,
                          [&](const auto& lane) { separate_dout(p, block, lane, planes, d); });
  __syncthreads();
  for (int i = int(threadIdx.x); i < block.instances * block.tokens(); i += int(blockDim.x)) {
    to[block.first_sum() + i] = d[i];
  }
  __syncthreads();
}

/// -lse * log2(e) and D of a query in shared memory; past the last query P is 0, whatever its
/// score.
__device__ inline void store_sums(float shift, float d, int row, int tokens, unsigned sums) {
  const bool is = row < tokens;
  const unsigned pair[2] = {__float_as_uint(is ? shift : -INFINITY), __float_as_uint(is ? d : 0)};
  store<sizeof(pair)>(pair, sums + row * int(sizeof(pair)));
}

/// to[row, 0..kD) = sums * factor for the rows of a tile that there are. All lanes of the warp.
template <int kD, class T>
__device__ void store_rows(const float (&sums)[kD / 8][4], float factor, int tile, int tokens,
                           T* to, int pitch) {
  const int g = int(threadIdx.x) % kWarpSize / 4, t = int(threadIdx.x) % 4;
  const auto rows = as_rows<T, kD>(sums, factor, factor);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = tile * 16 + g + 8 * i;
    if (row >= tokens) continue;
#pragma unroll
    for (int j = 0; j < rows.kParts; ++j) {
      store16(to + std::int64_t{row} * pitch + (4 * j + t) * kVector<T>, rows.v[i][j]);
    }
  }
}

/// A warp's rows of one instance: tiles first, first + 1, ... of it.
struct Own {
  int instance, first, tiles;  // tiles: of the instance
  __device__ bool has(int m) const { return first + m < tiles; }
  /// The last tile instead of one that there isn't.
  __device__ int tile(int m) const { return min(first + m, tiles - 1); }
};

/// q of the warp's queries.
template <int kD, int kOwn, class T>
__device__ void load_queries(const WindowAttentionBackward<T>& p, const Block& block,
                             const Own& own, RowFragment<T, kD> (&q)[kOwn]) {
  const int g = int(threadIdx.x) % kWarpSize / 4, t = int(threadIdx.x) % 4;
  const T* from = p.qkv + block.q(own.instance);
#pragma unroll
  for (int m = 0; m < kOwn; ++m) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = min((own.first + m) * 16 + g + 8 * i, block.tokens() - 1);
#pragma unroll
      for (int j = 0; j < q[m].kParts; ++j) {
        load16(q[m].v[i][j],
               from + std::int64_t{row} * (3 * block.plan.channels) + (4 * j + t) * kVector<T>);
      }
    }
  }
}

/// dq of the warp's queries q. Writes -lse * log2(e) and D to `sums`.
template <int kD, int kOwn, class T>
__device__ void pass_over_keys(const WindowAttentionBackward<T>& p, const float* delta,
                               const Block& block, const Own& own, const TileReader<T, kD>& reader,
                               unsigned keys, unsigned values, unsigned dout_plane,
                               float scale_log2, unsigned sums,
                               const RowFragment<T, kD> (&q)[kOwn]) {
  const int g = int(threadIdx.x) % kWarpSize / 4, t = int(threadIdx.x) % 4;
  RowFragment<T, kD> dout[kOwn];
  float shift[kOwn][2], d[kOwn][2];
  float dq[kOwn][kD / 8][4] = {};
#pragma unroll
  for (int m = 0; m < kOwn; ++m) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = (own.first + m) * 16 + g + 8 * i, inside = min(row, block.tokens() - 1);
      const std::int64_t sum_at = block.first_sum() + own.instance * block.tokens() + inside;
      shift[m][i] = p.lse[sum_at] * -kLog2e;
      d[m][i] = delta[sum_at];
      if (t == 0 && own.has(m)) store_sums(shift[m][i], d[m][i], row, block.tokens(), sums);
    }
    dout[m] = reader.rows(dout_plane, own.tile(m), plane_mask<T>(own.instance));
  }
  const auto see = [&](const auto& keys_at, const auto& values_at) {
    float s[kOwn][2][4], ds[kOwn][2][4];
    dot_rows(q, keys_at, s);
    dot_rows(dout, values_at, ds);
#pragma unroll
    for (int m = 0; m < kOwn; ++m) {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int r = i / 2 % 2;
        const float e = fast_exp2(fmaf(s[m][i / 4][i % 4], scale_log2, shift[m][r]));
        float& x = ds[m][i / 4][i % 4];
        x = e * (x - d[m][r]);
        if (keys_at.kOfLast && i / 4 * 8 + 2 * t + i % 2 >= reader.last_rows()) x = 0;
      }
    }
    add_product(dq, ds, keys_at);
  };
  auto keys_at = reader.first(keys), values_at = reader.first(values);
#pragma unroll 1
  for (int tile = 1; tile < reader.tiles(); ++tile) {
    see(keys_at, values_at);
    keys_at.advance();
    values_at.advance();
  }
  see(reader.last(keys), reader.last(values));
#pragma unroll
  for (int m = 0; m < kOwn; ++m) {
    if (own.has(m)) {
      store_rows<kD>(dq[m], scale_log2 * kLn2, own.first + m, block.tokens(),
                     p.dqkv + block.q(own.instance), 3 * block.plan.channels);
    }
  }
}

/// dk (before the factor of the scores) and dv of a warp's keys.
template <int kD, int kOwn>
struct KeyGradients {
  float dk[kOwn][kD / 8][4] = {}, dv[kOwn][kD / 8][4] = {};

  template <class T>
  __device__ void store(const WindowAttentionBackward<T>& p, const Block& block, const Own& own,
                        float scale_log2) const {
    const int pitch = 3 * block.plan.channels;
    T* to = p.dqkv + block.q(own.instance);
#pragma unroll
    for (int m = 0; m < kOwn; ++m) {
      if (!own.has(m)) continue;
      store_rows<kD>(dk[m], scale_log2 * kLn2, own.first + m, block.tokens(),
                     to + block.plan.channels, pitch);
      store_rows<kD>(dv[m], 1, own.first + m, block.tokens(), to + 2 * block.plan.channels, pitch);
    }
  }
};

/// What tiles begin .. end - 1 of queries add to the gradients of the warp's keys k with values v.
/// Of 16 bits calls keep(tile, dS^T) for each, keys in rows, kOwn packed tiles of 16 x 16.
template <int kD, int kOwn, class T, class Keep>
__device__ void add_queries(int begin, int end, const TileReader<T, kD>& reader, unsigned queries,
                            unsigned dout_plane, int mask, float scale_log2, unsigned sums,
                            const RowFragment<T, kD> (&k)[kOwn],
                            const RowFragment<T, kD> (&v)[kOwn], KeyGradients<kD, kOwn>* to,
                            const Keep& keep) {
  unsigned sums_at = sums + (begin * 16 + int(threadIdx.x) % 4 * 2) * int(sizeof(float2));
  int tile = begin;
  const auto see = [&](const auto& queries_at, const auto& dout_at) {
    float e[kOwn][2][4], ds[kOwn][2][4];
    dot_rows(k, queries_at, e);
    dot_rows(v, dout_at, ds);
    // -lse and D of queries 2t and 2t + 1, and of those 8 further
    unsigned sum[2][4];
    load16<0>(sum[0], sums_at);
    load16<8 * sizeof(float2)>(sum[1], sums_at);
#pragma unroll
    for (int m = 0; m < kOwn; ++m) {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        float& x = e[m][i / 4][i % 4];
        float& dx = ds[m][i / 4][i % 4];
        x = fast_exp2(fmaf(x, scale_log2, __uint_as_float(sum[i / 4][i % 2 * 2])));
        dx = x * (dx - __uint_as_float(sum[i / 4][i % 2 * 2 + 1]));
      }
    }
    if constexpr (sizeof(T) == 2) {
      unsigned packed[kOwn][4];
      pack_weights<T>(ds, packed);
      keep(tile, packed);
      add_product(to->dv, e, dout_at);
      add_packed_product(to->dk, packed, queries_at);
    } else {
      add_product(to->dv, e, dout_at);
      add_product(to->dk, ds, queries_at);
    }
  };
  constexpr int kTileBytes = 16 * Rows<T, kD>::kBytes;
  auto queries_at = reader.first(queries + begin * kTileBytes);
  auto dout_at = reader.first(dout_plane + begin * kTileBytes, mask);
#pragma unroll 1
  for (; tile < min(end, reader.tiles() - 1); ++tile) {
    see(queries_at, dout_at);
    queries_at.advance();
    dout_at.advance();
    sums_at += 16 * sizeof(float2);
  }
  if (end == reader.tiles()) see(reader.last(queries), reader.last(dout_plane, mask));
}

/// dk and dv of the warp's keys k with values v.
template <int kD, int kOwn, class T>
__device__ void pass_over_queries(const WindowAttentionBackward<T>& p, const Block& block,
                                  const Own& own, const TileReader<T, kD>& reader, unsigned queries,
                                  unsigned dout_plane, float scale_log2, unsigned sums,
                                  const RowFragment<T, kD> (&k)[kOwn],
                                  const RowFragment<T, kD> (&v)[kOwn]) {
  KeyGradients<kD, kOwn> gradients;
  add_queries(0, reader.tiles(), reader, queries, dout_plane, plane_mask<T>(own.instance),
              scale_log2, sums, k, v, &gradients, [](int, const auto&) {});
  gradients.store(p, block, own, scale_log2);
}

/// Both passes of a warp over its units of a stage, with the planes of q after those of v.
/// with_unit(unit, body) calls body(own, keys, dout's plane, lse and D).
template <int kD, int kOwn, class T, class WithUnit>
__device__ void both_passes(const WindowAttentionBackward<T>& p, const float* delta,
                            const Block& block, const TileReader<T, kD>& reader, float scale_log2,
                            int units, const WithUnit& with_unit) {
  const int warp = int(threadIdx.x) / kWarpSize, warps = int(blockDim.x) / kWarpSize;
  const int values = block.plan.stage_bytes, queries = 2 * values;  // after keys
  for (int unit = warp; unit < units; unit += warps) {
    with_unit(unit, [&](const Own& own, unsigned keys, unsigned dout, unsigned sums) {
      RowFragment<T, kD> q[kOwn];
#pragma unroll
      for (int m = 0; m < kOwn; ++m) q[m] = reader.rows(keys + queries, own.tile(m));
      pass_over_keys(p, delta, block, own, reader, keys, keys + values, dout, scale_log2, sums, q);
    });
  }
  __syncthreads();
  for (int unit = warp; unit < units; unit += warps) {
    with_unit(unit, [&](const Own& own, unsigned keys, unsigned dout, unsigned sums) {
      RowFragment<T, kD> k[kOwn], v[kOwn];
#pragma unroll
      for (int m = 0; m < kOwn; ++m) {
        k[m] = reader.rows(keys, own.tile(m));
        v[m] = reader.rows(keys + values, own.tile(m));
      }
      pass_over_queries(p, block, own, reader, keys + queries, dout, scale_log2, sums, k, v);
    });
  }
}

/// The same where q replaces k: a warp has at most one unit, and its q, k and v in registers
/// meanwhile.
template <int kD, int kOwn, class T, class WithUnit>
__device__ void both_passes_in_place_of_keys(const WindowAttentionBackward<T>& p,
                                             const float* delta, const Block& block,
                                             const TileReader<T, kD>& reader, float scale_log2,
                                             int units, const WithUnit& with_unit) {
  const int warp = int(threadIdx.x) / kWarpSize, values = block.plan.stage_bytes;
  RowFragment<T, kD> q[kOwn], k[kOwn], v[kOwn];
  if (warp < units) {
    with_unit(warp, [&](const Own& own, unsigned keys, unsigned dout, unsigned sums) {
      load_queries(p, block, own, q);
      pass_over_keys(p, delta, block, own, reader, keys, keys + values, dout, scale_log2, sums, q);
#pragma unroll
      for (int m = 0; m < kOwn; ++m) {
        k[m] = reader.rows(keys, own.tile(m));
        v[m] = reader.rows(keys + values, own.tile(m));
      }
    });
  }
  __syncthreads();
  if (warp < units) {
    with_unit(warp, [&](const Own& own, unsigned keys, unsigned, unsigned) {
#pragma unroll
      for (int m = 0; m < kOwn; ++m) {
        if (own.has(m)) reader.store_rows(q[m], own.first + m, keys);
      }
    });
  }
  __syncthreads();
  if (warp < units) {
    with_unit(warp, [&](const Own& own, unsigned keys, unsigned dout, unsigned sums) {
      pass_over_queries(p, block, own, reader, keys, dout, scale_log2, sums, k, v);
    });
  }
}

template <int kD, int kOwn, class T>
__global__ void __launch_bounds__(kBackwardWarps* kWarpSize, 1)
    window_attention_backward_mma_kernel(const __grid_constant__ WindowAttentionBackward<T> p,
                                         const __grid_constant__ Plan plan, float scale_log2,
                                         float* delta) {
  extern __shared__ uint4 shared[];
  char* memory = reinterpret_cast<char*>(shared);
  const Block block(p.shape, plan);
  constexpr bool kQueries = kOwnQueries<T, kD>;
  const BackwardMemory place{plan, p.shape.tokens, kQueries ? 3 : 2};
  const TileReader<T, kD> reader(block.tokens());

  const unsigned base = shared_address(memory);
  const auto copy = [&](int stage, int which) {
    const int array = which == 0 ? 2 : which - 1;
    copy_stage<kD>(p, block, plan, stage, which,
                   base + place.keys(stage) + array * plan.stage_bytes);
  };
  if constexpr (kQueries) copy(0, 0);
  copy(0, 1);
  // D of the block's instances fits where v will be.
  auto* d = reinterpret_cast<float*>(memory + place.keys(0) + plan.stage_bytes);
  separate_dout<kD>(p, block, base, d, delta);
  copy(0, 2);

  for (int stage = 0; stage < plan.stages; ++stage) {
    wait_copies();
    __syncthreads();
    const int next = stage + 1;
    const auto copy_next = [&] {
      if constexpr (kQueries) copy(next, 0);
      copy(next, 1);
      copy(next, 2);
    };
    const bool ahead = place.may_run_ahead(stage);
    if (next < plan.stages && ahead) copy_next();

    const int first = stage * plan.stage;
    const int units = min(plan.stage, block.instances - first) * plan.units;
    // Calls body(own, keys, dout's plane, lse and D) for a unit of the stage.
    const auto with_unit = [&](int unit, const auto& body) {
      const int local = unit / plan.units;
      const Own own{first + local, (unit - local * plan.units) * kOwn, reader.tiles()};
      body(own, base + place.keys(stage) + local * plan.plane_bytes,
           base + own.instance * plan.plane_bytes,
           base + place.sums() + local * place.sums_bytes());
    };
    if constexpr (kQueries) {
      both_passes<kD, kOwn>(p, delta, block, reader, scale_log2, units, with_unit);
    } else {
      both_passes_in_place_of_keys<kD, kOwn>(p, delta, block, reader, scale_log2, units, with_unit);
    }
    if (next < plan.stages && !ahead) {
      __syncthreads();
      copy_next();
    }
  }
}

template <int kD, int kOwn, class T>
bool backward_of_width(const WindowAttentionBackward<T>& p, StreamHandle stream) {
  Plan plan;
  constexpr bool kQueries = kOwnQueries<T, kD>;
  const auto bytes = [&](const Plan& of) {
    return BackwardMemory{of, p.shape.tokens, kQueries ? 3 : 2}.bytes();
  };
  if (!kQueries && ceil_div(p.shape.tokens, 16 * kOwn) > kBackwardWarps) return false;
  if (!make_plan<T>(p.shape, kBackwardWarps, kOwn, bytes, &plan)) return false;
  launch(window_attention_backward_mma_kernel<kD, kOwn, T>, blocks(p.shape, plan), plan.threads,
         bytes(plan), stream, p, plan, kLog2e / std::sqrt(float(kD)),
         static_cast<float*>(p.workspace));
  return true;
}

}  // namespace attention_mma
}  // namespace hh::gpu
