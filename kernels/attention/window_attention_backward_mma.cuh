// Window attention backward in bf16 or f16 on tensor cores, for heads 32 or 64 wide.
//
// Mapping   A block takes some heads of a window, or of several small windows. First it separates
//           the heads of dout into planes and computes D. Then, in stages, k and v of a stage are
//           in shared memory, and a warp makes two passes with kOwn tiles of 16 rows of one
//           instance: as queries, over all keys, for dq; then, when q has replaced k in shared
//           memory, as keys, over all queries, for dk and dv. Both recompute P and dS, so a result
//           is summed by one warp, in order, without atomics.
// Traffic   qkv, out, dout and dqkv once each, if the block has all heads of a window or 16 of
//           them; D goes through the workspace.
// Numerics  Scores, P, dS and sums in float32; P and dS are rounded to T for their products
//           with dout, k and q.
#pragma once
#include "kernels/attention/window_attention_tiles.cuh"

namespace hh::gpu {
namespace attention_mma {

/// Warps of a block at most: they need more than 128 registers each.
constexpr int kBackwardWarps = 8;

/// Planes of dout of all stages, k and v of one stage or two, lse and D of a stage. When only one
/// stage has its own place, odd stages have theirs in the planes of stages 0 and 1 once those are
/// done.
struct BackwardMemory {
  __device__ int keys(int stage) const {  // and values stage_bytes after
    if (stage % 2 == 0) return plan.stages * plan.stage_bytes;
    if (plan.doubled) return (plan.stages + 2) * plan.stage_bytes;
    return stage >= 3 ? 0 : plan.stages * plan.stage_bytes;
  }
  /// lse and D of a stage, sums_bytes() for each instance.
  __host__ __device__ int sums() const {
    return (plan.stages + (plan.doubled ? 4 : 2)) * plan.stage_bytes;
  }
  __host__ __device__ int sums_bytes() const {
    return ceil_div(tokens, 16) * 16 * int(sizeof(float2));
  }
  /// Whether the copies for the next stage may start before this one is done.
  __device__ bool may_run_ahead(int stage) const { return plan.doubled || stage >= 2; }
  std::size_t bytes() const { return std::size_t(sums() + plan.stage * sums_bytes()); }
  const Plan& plan;
  int tokens;
};

/// k (which = 1) or v (2) of a stage.
template <int kD, class T>
__device__ void copy_stage(const WindowAttentionBackward<T>& p, const Block& block,
                           const Plan& plan, int stage, int which, unsigned to) {
  const int first = stage * plan.stage, count = min(plan.stage, block.instances - first);
  for_each_chunk<kD>(block, count, [&](int plane, int token, int chunk) {
    const int instance = first + plane;
    copy16_async(
        to + plane * plan.plane_bytes + Rows<kD>::offset(token, chunk),
        p.qkv + block.q(instance) + std::int64_t{token * 3 + which} * plan.channels + chunk * 8);
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
          float& sum = sums[piece % 2][i];
          sum = fmaf(widen_half<T>(grad[i / 2], i % 2), widen_half<T>(out[i / 2], i % 2), sum);
        }
        unsigned to = lane.place(block, planes, token, instance, piece);
#pragma unroll
        for (int k = 0; k < Lane::kHeads; ++k) {
          unsigned run[4];
#pragma unroll
          for (int e = 1; e < Lane::kRun; e += 2) {
            const int i = e * Lane::kHeads + k;
            run[e / 2] = pair(grad, i - Lane::kHeads, grad, i);
          }
          if constexpr (Lane::kRun == 1) run[0] = grad[k / 2] >> k % 2 * 16;
          store<2 * Lane::kRun>(run, to);
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

/// Of four lanes with four registers each: register j of lane t becomes register t of lane j.
__device__ inline void transpose_in_four_lanes(unsigned (&r)[4]) {
  const auto exchange = [](unsigned& low, unsigned& high, int bit) {
    const bool upper = threadIdx.x & bit;
    const unsigned got = __shfl_xor_sync(kFullMask, upper ? low : high, bit);
    (upper ? low : high) = got;
  };
  exchange(r[0], r[1], 1);
  exchange(r[2], r[3], 1);
  exchange(r[0], r[2], 2);
  exchange(r[1], r[3], 2);
}

/// to[row, 0..kD) = sums * factor for the rows of a tile that there are. All lanes of the warp.
template <int kD, class T>
__device__ void store_rows(const float (&sums)[kD / 8][4], float factor, int tile, int tokens,
                           T* to, int pitch) {
  const int g = int(threadIdx.x) % kWarpSize / 4, t = int(threadIdx.x) % 4;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = tile * 16 + g + 8 * i;
#pragma unroll
    for (int j = 0; j < kD / 32; ++j) {
      unsigned r[4];
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        r[c] = pack_halves<T>(sums[4 * j + c][2 * i] * factor, sums[4 * j + c][2 * i + 1] * factor);
      }
      transpose_in_four_lanes(r);  // now e = 32j + 8t..
      if (row < tokens) store16(to + std::int64_t{row} * pitch + 32 * j + 8 * t, r);
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

/// dq of the warp's queries. Gives q, and writes -lse * log2(e) and D to `sums`.
template <int kD, int kOwn, class T>
__device__ void pass_over_keys(const WindowAttentionBackward<T>& p, const float* delta,
                               const Block& block, const Own& own, const TileReader<kD>& reader,
                               unsigned keys, unsigned values, unsigned dout_plane,
                               float scale_log2, float2* sums, RowFragment<kD> (&q)[kOwn]) {
  const int g = int(threadIdx.x) % kWarpSize / 4, t = int(threadIdx.x) % 4;
  const std::int64_t pitch = 3 * std::int64_t{block.plan.channels}, at = block.q(own.instance);
  RowFragment<kD> dout[kOwn];
  float shift[kOwn][2], d[kOwn][2];
  float dq[kOwn][kD / 8][4] = {};
#pragma unroll
  for (int m = 0; m < kOwn; ++m) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = (own.first + m) * 16 + g + 8 * i, inside = min(row, block.tokens() - 1);
#pragma unroll
      for (int j = 0; j < kD / 32; ++j) {
        load16(q[m].v[i][j], p.qkv + at + std::int64_t{inside} * pitch + 32 * j + 8 * t);
      }
      const std::int64_t sum_at = block.first_sum() + own.instance * block.tokens() + inside;
      shift[m][i] = p.lse[sum_at] * -kLog2e;
      d[m][i] = delta[sum_at];
      // Past the last query P is 0, whatever its score.
      if (t == 0 && own.has(m)) {
        sums[row] =
            row < block.tokens() ? make_float2(shift[m][i], d[m][i]) : make_float2(-INFINITY, 0);
      }
    }
    dout[m] = reader.rows(dout_plane, own.tile(m), plane_mask(own.instance));
  }
  const auto see = [&](const auto& keys_at, const auto& values_at) {
    const RowFragment<kD> k = keys_at.rows(), v = values_at.rows();
    float ds[kOwn][2][4];
#pragma unroll
    for (int m = 0; m < kOwn; ++m) {
      float s[2][4];
      dot_rows<T>(q[m], k, s);
      dot_rows<T>(dout[m], v, ds[m]);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int r = i / 2 % 2;
        const float e = fast_exp2(fmaf(s[i / 4][i % 4], scale_log2, shift[m][r]));
        float& x = ds[m][i / 4][i % 4];
        x = e * (x - d[m][r]);
        if (keys_at.kOfLast && i / 4 * 8 + 2 * t + i % 2 >= reader.last_rows()) x = 0;
      }
    }
    add_product<T>(dq, ds, keys_at);
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
      store_rows<kD>(dq[m], scale_log2 * kLn2, own.first + m, block.tokens(), p.dqkv + at, pitch);
    }
  }
}

/// dk and dv of the warp's keys k with values v.
template <int kD, int kOwn, class T>
__device__ void pass_over_queries(const WindowAttentionBackward<T>& p, const Block& block,
                                  const Own& own, const TileReader<kD>& reader, unsigned queries,
                                  unsigned dout_plane, float scale_log2, const float2* sums,
                                  const RowFragment<kD> (&k)[kOwn],
                                  const RowFragment<kD> (&v)[kOwn]) {
  const int mask = plane_mask(own.instance);
  float dk[kOwn][kD / 8][4] = {}, dv[kOwn][kD / 8][4] = {};
  unsigned sums_at = shared_address(sums + 2 * (int(threadIdx.x) % 4));
  const auto see = [&](const auto& queries_at, const auto& dout_at) {
    float e[kOwn][2][4], ds[kOwn][2][4];
    {
      const RowFragment<kD> q = queries_at.rows();
#pragma unroll
      for (int m = 0; m < kOwn; ++m) dot_rows<T>(k[m], q, e[m]);
    }
    {
      const RowFragment<kD> dout = dout_at.rows();
#pragma unroll
      for (int m = 0; m < kOwn; ++m) dot_rows<T>(v[m], dout, ds[m]);
    }
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
    add_product<T>(dv, e, dout_at);
    add_product<T>(dk, ds, queries_at);
  };
  auto queries_at = reader.first(queries), dout_at = reader.first(dout_plane, mask);
#pragma unroll 1
  for (int tile = 1; tile < reader.tiles(); ++tile) {
    see(queries_at, dout_at);
    queries_at.advance();
    dout_at.advance();
    sums_at += 16 * sizeof(float2);
  }
  see(reader.last(queries), reader.last(dout_plane, mask));
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

template <int kD, int kOwn, class T>
__global__ void __launch_bounds__(kBackwardWarps* kWarpSize, 1)
    window_attention_backward_mma_kernel(const __grid_constant__ WindowAttentionBackward<T> p,
                                         const __grid_constant__ Plan plan, float scale_log2,
                                         float* delta) {
  extern __shared__ uint4 shared[];
  char* memory = reinterpret_cast<char*>(shared);
  const Block block(p.shape, plan);
  const BackwardMemory place{plan, p.shape.tokens};
  const TileReader<kD> reader(block.tokens());

  const unsigned base = shared_address(memory);
  copy_stage<kD>(p, block, plan, 0, 1, base + place.keys(0));
  // D of at most 16 instances for each of a stage fits where v will be.
  auto* d = reinterpret_cast<float*>(memory + place.keys(0) + plan.stage_bytes);
  with_interleaved<kD>(block, [&](const auto& lane) { separate_dout(p, block, lane, base, d); });
  __syncthreads();
  for (int i = int(threadIdx.x); i < block.instances * block.tokens(); i += int(blockDim.x)) {
    delta[block.first_sum() + i] = d[i];
  }
  __syncthreads();
  copy_stage<kD>(p, block, plan, 0, 2, base + place.keys(0) + plan.stage_bytes);

  const int warp = int(threadIdx.x) / kWarpSize, local = warp / plan.units;
  for (int stage = 0; stage < plan.stages; ++stage) {
    wait_copies();
    __syncthreads();
    const int next = stage + 1;
    const auto copy_next = [&] {
      copy_stage<kD>(p, block, plan, next, 1, base + place.keys(next));
      copy_stage<kD>(p, block, plan, next, 2, base + place.keys(next) + plan.stage_bytes);
    };
    const bool ahead = place.may_run_ahead(stage);
    if (next < plan.stages && ahead) copy_next();

    const Own own{stage * plan.stage + local, (warp - local * plan.units) * kOwn, reader.tiles()};
    const bool active = local < plan.stage && own.instance < block.instances;
    const int keys = place.keys(stage) + local * plan.plane_bytes;  // later of q
    const unsigned values = base + keys + plan.stage_bytes,
                   dout_plane = base + own.instance * plan.plane_bytes;
    auto* sums = reinterpret_cast<float2*>(memory + place.sums() + local * place.sums_bytes());
    RowFragment<kD> q[kOwn], k[kOwn], v[kOwn];
    if (active) {
      pass_over_keys(p, delta, block, own, reader, base + keys, values, dout_plane, scale_log2,
                     sums, q);
#pragma unroll
      for (int m = 0; m < kOwn; ++m) {
        k[m] = reader.rows(base + keys, own.tile(m));
        v[m] = reader.rows(values, own.tile(m));
      }
    }
    __syncthreads();
    if (active) {
#pragma unroll
      for (int m = 0; m < kOwn; ++m) {
        if (own.has(m)) reader.store_rows(q[m], own.first + m, memory + keys);
      }
    }
    __syncthreads();
    if (active) {
      pass_over_queries(p, block, own, reader, base + keys, dout_plane, scale_log2, sums, k, v);
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
  const auto bytes = [&](const Plan& of) { return BackwardMemory{of, p.shape.tokens}.bytes(); };
  if (ceil_div(p.shape.tokens, 16 * kOwn) > kBackwardWarps) return false;
  if (!make_plan(p.shape, kBackwardWarps, kOwn, bytes, &plan)) return false;
  launch(window_attention_backward_mma_kernel<kD, kOwn, T>, blocks(p.shape, plan), plan.threads,
         bytes(plan), stream, p, plan, kLog2e / std::sqrt(float(kD)),
         static_cast<float*>(p.workspace));
  return true;
}

/// False when the shape is not for these kernels.
template <class T>
bool backward(const WindowAttentionBackward<T>& p, StreamHandle stream) {
  if (!aligned16(p.qkv) || !aligned16(p.out) || !aligned16(p.dout) || !aligned16(p.dqkv)) {
    return false;
  }
  if (p.shape.head_dim == 32) {
    return p.shape.tokens <= 16 ? backward_of_width<32, 1>(p, stream)
                                : backward_of_width<32, 2>(p, stream);
  }
  if (p.shape.head_dim == 64) return backward_of_width<64, 1>(p, stream);
  return false;
}

}  // namespace attention_mma
}  // namespace hh::gpu
