// Window attention forward in bf16 on tensor cores, for heads 32 or 64 wide.
//
// Mapping   A block takes some heads of a window, or of several small windows, in stages: k and v
//           of a stage come to shared memory while the stage before is computed. A warp has 16
//           queries of an instance at a time and passes over its keys in tiles of 64. o replaces q
//           in its plane; at the end the block puts the heads of its planes together and writes
//           whole rows.
// Traffic   qkv, out and lse once each, if the block has all heads of a window or 16 of them.
// Numerics  Scores, softmax and sums in float32; P is rounded to bf16 for its product with v, the
//           sum of P is not. The scale and log2(e) are one factor, so the exponential is exp2.
#pragma once
#include "kernels/attention/window_attention_tiles.cuh"

namespace hh::gpu {
namespace attention_mma {

constexpr int kForwardWarps = 16;  // warps of a block at most

/// Planes of all stages, then k and v of one stage or two. When only one stage has its own place,
/// odd stages have theirs in the planes of the last two stages, as long as these aren't needed.
struct ForwardMemory {
  __host__ __device__ ForwardMemory(const Plan& plan, int tokens, int row_bytes)
      : stage_bytes(plan.stage * tokens * row_bytes), stages(plan.stages), doubled(plan.doubled) {}
  __device__ int keys(int stage) const {
    if (stage % 2 == 0) return stages * stage_bytes;
    if (doubled) return (stages + 2) * stage_bytes;
    return (stage < stages - 2 ? stages - 2 : stages) * stage_bytes;
  }
  __device__ int values(int stage) const { return keys(stage) + stage_bytes; }
  /// Whether the copies for the next stage may start before this one is done.
  __device__ bool may_run_ahead(int stage) const { return doubled || stage + 1 < stages - 2; }
  std::size_t bytes() const {
    return std::size_t(stages + (doubled ? 4 : 2)) * std::size_t(stage_bytes);
  }
  int stage_bytes, stages;
  bool doubled;
};

/// q, k and v of a stage.
template <int kD>
__device__ void copy_stage(const WindowAttentionForward<bf16>& p, const Block& block,
                           const Plan& plan, const ForwardMemory& place, int stage, char* memory) {
  const int first = stage * plan.stage, count = min(plan.stage, block.instances - first);
  char* planes = memory + stage * place.stage_bytes;
  char* keys = memory + place.keys(stage);
  char* values = memory + place.values(stage);
  for_each_chunk<kD>(block, first, count, [&](int instance, int at, int token, int chunk) {
    const bf16* from = p.qkv + (block.row(instance) + token) * 3 * block.channels +
                       block.head_of(instance) * kD + chunk * 8;
    const int offset = at + Rows<kD>::offset(token, chunk);
    copy16_async(planes + (offset ^ plane_mask(instance)), from);
    copy16_async(keys + offset, from + block.channels);
    copy16_async(values + offset, from + 2 * block.channels);
  });
}

/// 16 queries of one instance: o replaces q in its plane.
template <int kD>
__device__ void attend(const TileReader<kD>& reader, const char* keys, const char* values,
                       char* plane, int mask, int tile, int tokens, float scale_log2, float* lse) {
  constexpr int kKeyTiles = 4;
  const int g = int(threadIdx.x) % kWarpSize / 4, t = int(threadIdx.x) % 4;
  const RowFragment<kD> q = reader.rows(plane, tile, mask);
  float out[1][kD / 8][4] = {};
  float most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};  // of rows g and g + 8
  for (int first = 0; first < reader.tiles(); first += kKeyTiles) {
    float s[kKeyTiles][1][2][4];
    float top[2] = {most[0], most[1]};
#pragma unroll
    for (int j = 0; j < kKeyTiles; ++j) {
      if (first + j >= reader.tiles()) continue;
      dot_rows(q, reader.rows(keys, first + j), s[j][0]);
      if (reader.is_last(first + j)) {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          const int key = (first + j) * 16 + i / 4 * 8 + 2 * t + i % 2;
          if (key >= tokens) s[j][0][i / 4][i % 4] = -INFINITY;
        }
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) top[i / 2 % 2] = fmaxf(top[i / 2 % 2], s[j][0][i / 4][i % 4]);
    }
    float shift[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      top[r] = fmaxf(top[r], __shfl_xor_sync(kFullMask, top[r], 1));
      top[r] = fmaxf(top[r], __shfl_xor_sync(kFullMask, top[r], 2));
      const float shrink = fast_exp2((most[r] - top[r]) * scale_log2);
      most[r] = top[r];
      shift[r] = top[r] * scale_log2;
      sum[r] *= shrink;
#pragma unroll
      for (auto& column : out[0]) column[2 * r] *= shrink, column[2 * r + 1] *= shrink;
    }
#pragma unroll
    for (int j = 0; j < kKeyTiles; ++j) {
      if (first + j >= reader.tiles()) continue;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        float& x = s[j][0][i / 4][i % 4];
        x = fast_exp2(fmaf(x, scale_log2, -shift[i / 2 % 2]));
        sum[i / 2 % 2] += x;
      }
      add_product(out, s[j], reader, values, first + j);
    }
  }
  __syncwarp();  // all lanes have their q
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    sum[r] += __shfl_xor_sync(kFullMask, sum[r], 1);
    sum[r] += __shfl_xor_sync(kFullMask, sum[r], 2);
    const int row = tile * 16 + g + 8 * r;
    if (row >= tokens) continue;
    const float factor = 1 / sum[r];
#pragma unroll
    for (int c = 0; c < kD / 8; ++c) {
      *reinterpret_cast<unsigned*>(plane + (Rows<kD>::offset(row, c) ^ mask) + 4 * t) =
          pack_bf16(out[0][c][2 * r] * factor, out[0][c][2 * r + 1] * factor);
    }
    if (lse != nullptr && t == 0) lse[row] = fmaf(most[r] * scale_log2, kLn2, logf(sum[r]));
  }
}

/// Writes the planes with their heads interleaved.
template <int kD, int kGroupBits>
__device__ void write_interleaved(const Block& block, char* planes, bf16* out) {
  using Piece = Chunk<kD, kGroupBits>;
  const int count = (block.instances >> kGroupBits) * block.tokens * Piece::kOfRow;
  for (int i = int(threadIdx.x); i < count; i += int(blockDim.x)) {
    const Piece chunk(block, i);
    Pack<bf16, 8> to;
#pragma unroll
    for (int k = 0; k < Piece::kHeads; ++k) {
      const auto from =
          *reinterpret_cast<const Pack<bf16, Piece::kRun>*>(chunk.place(block, planes, k));
#pragma unroll
      for (int e = 0; e < Piece::kRun; ++e) to.v[e * Piece::kHeads + k] = from.v[e];
    }
    *reinterpret_cast<Pack<bf16, 8>*>(out + chunk.global) = to;
  }
}

template <int kD>
__global__ void __launch_bounds__(kForwardWarps* kWarpSize)
    window_attention_forward_mma_kernel(const WindowAttentionForward<bf16> p, const Plan plan,
                                        float scale_log2) {
  extern __shared__ uint4 shared[];
  char* memory = reinterpret_cast<char*>(shared);
  const Block block(p.shape, plan);
  const ForwardMemory place(plan, block.tokens, Rows<kD>::kBytes);
  const TileReader<kD> reader(block.tokens);
  const int plane_bytes = block.tokens * Rows<kD>::kBytes, tiles = reader.tiles();

  copy_stage<kD>(p, block, plan, place, 0, memory);
  for (int stage = 0; stage < plan.stages; ++stage) {
    wait_copies();
    __syncthreads();
    const int next = stage + 1;
    const bool ahead = place.may_run_ahead(stage);
    if (next < plan.stages && ahead) copy_stage<kD>(p, block, plan, place, next, memory);
    const int first = stage * plan.stage, count = min(plan.stage, block.instances - first);
    for (int unit = int(threadIdx.x) / kWarpSize; unit < count * tiles;
         unit += int(blockDim.x) / kWarpSize) {
      const int local = unit / tiles, instance = first + local;
      attend(reader, memory + place.keys(stage) + local * plane_bytes,
             memory + place.values(stage) + local * plane_bytes, memory + instance * plane_bytes,
             plane_mask(instance), unit - local * tiles, block.tokens, scale_log2,
             p.lse == nullptr ? nullptr : p.lse + block.first_sum() + instance * block.tokens);
    }
    if (next < plan.stages && !ahead) {
      __syncthreads();
      copy_stage<kD>(p, block, plan, place, next, memory);
    }
  }
  __syncthreads();
  with_group_bits(block.group_bits, [&](auto bits) {
    write_interleaved<kD, decltype(bits)::value>(block, memory, p.out);
  });
}

template <int kD>
bool forward_of_width(const WindowAttentionForward<bf16>& p, StreamHandle stream) {
  Plan plan;
  const auto bytes = [&](const Plan& of) {
    return ForwardMemory(of, p.shape.tokens, Rows<kD>::kBytes).bytes();
  };
  if (!make_plan(p.shape, kForwardWarps, 1, bytes, &plan)) return false;
  launch(window_attention_forward_mma_kernel<kD>, blocks(p.shape, plan), plan.threads, bytes(plan),
         stream, p, plan, kLog2e / std::sqrt(float(kD)));
  return true;
}

/// False when the shape is not for these kernels.
inline bool forward(const WindowAttentionForward<bf16>& p, StreamHandle stream) {
  if (!aligned16(p.qkv) || !aligned16(p.out)) return false;
  if (p.shape.head_dim == 32) return forward_of_width<32>(p, stream);
  if (p.shape.head_dim == 64) return forward_of_width<64>(p, stream);
  return false;
}

}  // namespace attention_mma
}  // namespace hh::gpu
