// SPDX-License-Identifier: Apache-2.0
// Window attention forward on tensor cores, for heads 32 or 64 wide.
//
// Mapping   A block takes some heads of a window, or of several small windows, in stages: k and v
//           of a stage come to shared memory while the stage before is computed. A warp has kOwn
//           tiles of 16 queries of an instance at a time and passes over its keys in tiles of 16.
//           o replaces q in its plane; at the end the block puts the heads of its planes together
//           and writes whole rows.
// Traffic   qkv, out and lse once each, if the block has all heads that share sectors.
// Numerics  Scores, softmax and sums in float32; P is rounded to a T of 16 bits for its product
//           with v, the sum of P is not. Products of float: window_attention_fragments.cuh. The
//           scale and log2(e) are one factor, so the exponential is exp2. Its argument is kept
//           below kSlack rather than 0, so that the running results are rarely multiplied by a new
//           factor; the quotient at the end is the same.
#pragma once
#include "kernels/attention/window_attention_fragments.cuh"

namespace hh::gpu {
namespace attention_mma {

constexpr int kForwardWarps = 8;  // of a block at most

/// Planes of all stages, then k and v of one stage or two. When only one stage has its own place,
/// odd stages have theirs in the planes of the last two stages, as long as these aren't needed.
struct ForwardMemory {
  __device__ int keys(int stage) const {  // and values stage_bytes after
    if (stage % 2 == 0) return plan.stages * plan.stage_bytes;
    if (plan.doubled) return (plan.stages + 2) * plan.stage_bytes;
    return (stage < plan.stages - 2 ? plan.stages - 2 : plan.stages) * plan.stage_bytes;
  }
  /// Whether the copies for the next stage may start before this one is done.
  __device__ bool may_run_ahead(int stage) const {
    return plan.doubled || stage + 1 < plan.stages - 2;
  }
  std::size_t bytes() const {
    return std::size_t(plan.stages + (plan.doubled ? 4 : 2)) * std::size_t(plan.stage_bytes);
  }
  const Plan& plan;
};

/// q, k and v of a stage.
template <int kD, class T>
__device__ void copy_stage(const WindowAttentionForward<T>& p, const Block& block, const Plan& plan,
                           const ForwardMemory& place, int stage, unsigned memory) {
  const int first = stage * plan.stage, count = min(plan.stage, block.instances - first);
  const unsigned planes = memory + stage * plan.stage_bytes, keys = memory + place.keys(stage);
  for_each_chunk<T, kD>(block, count, [&](int plane, int token, int chunk) {
    const int instance = first + plane;
    const T* from =
        p.qkv + block.q(instance) + std::int64_t{token} * (3 * plan.channels) + chunk * kVector<T>;
    const int offset = plane * plan.plane_bytes, in_plane = Rows<T, kD>::offset(token, chunk);
    copy16_async(planes + offset + (in_plane ^ plane_mask<T>(instance)), from);
    copy16_async(keys + offset + in_plane, from + plan.channels);
    copy16_async(keys + plan.stage_bytes + offset + in_plane, from + 2 * plan.channels);
  });
}

constexpr float kSlack = 8;

/// The running results of kOwn tiles of 16 queries, as far as their keys have been seen.
template <int kD, int kOwn>
struct Attended {
  __device__ Attended() {
#pragma unroll
    for (int m = 0; m < kOwn; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) shift[m][r] = INFINITY, sum[m][r] = 0;
    }
  }
  // Of rows g and g + 8. The shift is about -log2(e) times the maximum.
  float shift[kOwn][2], sum[kOwn][2];
  float out[kOwn][kD / 8][4] = {};  // times the sum
};

/// The maximum of a row's two keys of the lane in both halves of a tile.
__device__ inline float most_of_row(const float (&s)[2][4], int r) {
  return fmaxf(fmaxf(s[0][2 * r], s[0][2 * r + 1]), fmaxf(s[1][2 * r], s[1][2 * r + 1]));
}

/// The next tile of keys.
template <class T, int kD, int kOwn, bool kLast>
__device__ void attend(const RowFragment<T, kD> (&q)[kOwn], const TileReader<T, kD>& reader,
                       const Cursor<T, kD, kLast>& keys, const Cursor<T, kD, kLast>& values,
                       float scale_log2, Attended<kD, kOwn>& to) {
  float s[kOwn][2][4];
  dot_rows(q, keys, s);
  bool too_large = false;
#pragma unroll
  for (int m = 0; m < kOwn; ++m) {
    if constexpr (kLast) {
      const int key = 2 * (int(threadIdx.x) % 4);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        if (key + i / 4 * 8 + i % 2 >= reader.last_rows()) s[m][i / 4][i % 4] = -INFINITY;
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      too_large |= fmaf(most_of_row(s[m], r), scale_log2, to.shift[m][r]) > kSlack;
    }
  }
  if (__any_sync(kFullMask, too_large)) {  // always in the first tile, where the shift is infinite
#pragma unroll
    for (int m = 0; m < kOwn; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float top = most_of_row(s[m], r);
        top = fmaxf(top, __shfl_xor_sync(kFullMask, top, 1));
        top = fmaxf(top, __shfl_xor_sync(kFullMask, top, 2));
        const float shift = fminf(to.shift[m][r], -top * scale_log2);
        const float shrink = fast_exp2(shift - to.shift[m][r]);
        to.shift[m][r] = shift;
        to.sum[m][r] *= shrink;
#pragma unroll
        for (auto& column : to.out[m]) column[2 * r] *= shrink, column[2 * r + 1] *= shrink;
      }
    }
  }
#pragma unroll
  for (int m = 0; m < kOwn; ++m) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      float& x = s[m][i / 4][i % 4];
      x = fast_exp2(fmaf(x, scale_log2, to.shift[m][i / 2 % 2]));
      to.sum[m][i / 2 % 2] += x;
    }
  }
  add_product(to.out, s, values);
}

/// The queries of tiles first, first + 1, ... of one instance: o replaces q in its plane.
template <int kD, int kOwn, class T>
__device__ void attend_tiles(const WindowAttentionForward<T>& p, const Block& block,
                             const TileReader<T, kD>& reader, unsigned keys, unsigned values,
                             unsigned plane, int instance, int first, float scale_log2) {
  const int g = int(threadIdx.x) % kWarpSize / 4, t = int(threadIdx.x) % 4;
  RowFragment<T, kD> q[kOwn];
#pragma unroll
  for (int m = 0; m < kOwn; ++m) {
    q[m] = reader.rows(plane, min(first + m, reader.tiles() - 1), plane_mask<T>(instance));
  }
  Attended<kD, kOwn> to;
  auto keys_at = reader.first(keys), values_at = reader.first(values);
#pragma unroll 1
  for (int tile = 1; tile < reader.tiles(); ++tile) {
    attend(q, reader, keys_at, values_at, scale_log2, to);
    keys_at.advance();
    values_at.advance();
  }
  attend(q, reader, reader.last(keys), reader.last(values), scale_log2, to);

  __syncwarp();  // all lanes have their q
#pragma unroll
  for (int m = 0; m < kOwn; ++m) {
    if (first + m >= reader.tiles()) break;
    float factor[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float sum = to.sum[m][r];
      sum += __shfl_xor_sync(kFullMask, sum, 1);
      sum += __shfl_xor_sync(kFullMask, sum, 2);
      const int row = (first + m) * 16 + g + 8 * r;
      factor[r] = 1 / sum;
      if (row < block.tokens() && p.lse != nullptr && t == 0) {
        p.lse[block.first_sum() + instance * block.tokens() + row] =
            fmaf(to.shift[m][r], -kLn2, logf(sum));
      }
    }
    reader.store_rows(as_rows<T, kD>(to.out[m], factor[0], factor[1]), first + m, plane,
                      plane_mask<T>(instance));
  }
}

/// Writes the planes with their heads interleaved.
template <class Lane, class T>
__device__ void write_interleaved(const Block& block, const Lane& lane, unsigned planes, T* out) {
  lane.for_each_row([&](int row) {
    if (row >= lane.rows) return;
    int token, instance;
    lane.find(block, row, &token, &instance);
#pragma unroll
    for (int piece = 0; piece < Lane::kPieces; ++piece) {
      unsigned from = lane.place(block, planes, token, instance, piece);
      unsigned run[Lane::kHeads][4], to[4];
#pragma unroll
      for (int k = 0; k < Lane::kHeads; ++k) {
        load<Lane::kRunBytes>(run[k], from);
        from += block.plan.plane_bytes;
      }
#pragma unroll
      for (int i = 0; i < Lane::kChannels; ++i) {
        const int k = i % Lane::kHeads, e = i / Lane::kHeads;
        if constexpr (sizeof(T) == 4) {
          to[i] = run[k][e];
        } else if (i % 2 == 0) {
          to[i / 2] = Lane::kHeads == 1 ? run[0][i / 2] : pair(run[k], e, run[k + 1], e);
        }
      }
      store<Lane::kBytes>(to, out + lane.global(block, row, piece));
    }
  });
}

template <int kD, int kOwn, class T>
__global__ void __launch_bounds__(kForwardWarps* kWarpSize, sizeof(T) == 4 ? 1 : 2)
    window_attention_forward_mma_kernel(const __grid_constant__ WindowAttentionForward<T> p,
                                        const __grid_constant__ Plan plan, float scale_log2) {
  extern __shared__ uint4 shared[];
  char* memory = reinterpret_cast<char*>(shared);
  const Block block(p.shape, plan);
  const ForwardMemory place{plan};
  const TileReader<T, kD> reader(block.tokens());

  const unsigned base = shared_address(memory);
  copy_stage<kD>(p, block, plan, place, 0, base);
  for (int stage = 0; stage < plan.stages; ++stage) {
    wait_copies();
    __syncthreads();
    const int next = stage + 1;
    const bool ahead = place.may_run_ahead(stage);
    if (next < plan.stages && ahead) copy_stage<kD>(p, block, plan, place, next, base);
    const int first = stage * plan.stage, count = min(plan.stage, block.instances - first);
    for (int unit = int(threadIdx.x) / kWarpSize; unit < count * plan.units;
         unit += int(blockDim.x) / kWarpSize) {
      const int local = unit / plan.units, instance = first + local;
      const unsigned keys = base + place.keys(stage) + local * plan.plane_bytes;
      attend_tiles<kD, kOwn>(p, block, reader, keys, keys + plan.stage_bytes,
                             base + instance * plan.plane_bytes, instance,
                             (unit - local * plan.units) * kOwn, scale_log2);
    }
    if (next < plan.stages && !ahead) {
      __syncthreads();
      copy_stage<kD>(p, block, plan, place, next, base);
    }
  }
  __syncthreads();
  with_interleaved<T, kD>(block,
                          [&](const auto& lane) { write_interleaved(block, lane, base, p.out); });
}

template <int kD, int kOwn, class T>
bool forward_of_width(const WindowAttentionForward<T>& p, StreamHandle stream) {
  Plan plan;
  const auto bytes = [&](const Plan& of) { return ForwardMemory{of}.bytes(); };
  if (!make_plan<T>(p.shape, kForwardWarps, kOwn, bytes, &plan)) return false;
  launch(window_attention_forward_mma_kernel<kD, kOwn, T>, blocks(p.shape, plan), plan.threads,
         bytes(plan), stream, p, plan, kLog2e / std::sqrt(float(kD)));
  return true;
}

}  // namespace attention_mma
}  // namespace hh::gpu
