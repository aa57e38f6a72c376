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
  __device__ int keys(int stage) const {  // and values stage_bytes after
    if (stage % 2 == 0) return stages * stage_bytes;
    if (doubled) return (stages + 2) * stage_bytes;
    return (stage < stages - 2 ? stages - 2 : stages) * stage_bytes;
  }
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
                           const Plan& plan, const ForwardMemory& place, int stage,
                           unsigned memory) {
  const int first = stage * plan.stage, count = min(plan.stage, block.instances - first);
  const int plane_bytes = block.tokens * Rows<kD>::kBytes;
  const unsigned planes = memory + stage * place.stage_bytes, keys = memory + place.keys(stage);
  for_each_chunk<kD>(block, count, [&](int plane, int token, int chunk) {
    const int instance = first + plane;
    const bf16* from = p.qkv + (block.row(instance) + token) * 3 * block.channels +
                       block.head_of(instance) * kD + chunk * 8;
    const int offset = plane * plane_bytes, in_plane = Rows<kD>::offset(token, chunk);
    copy16_async(planes + offset + (in_plane ^ plane_mask(instance)), from);
    copy16_async(keys + offset + in_plane, from + block.channels);
    copy16_async(keys + place.stage_bytes + offset + in_plane, from + 2 * block.channels);
  });
}

/// The running result of 16 queries, as far as their keys have been seen.
template <int kD>
struct Attended {
  float out[1][kD / 8][4] = {};                             // times the sum
  float most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};  // of rows g and g + 8
};

/// The next kTiles tiles of keys. `last_keys`: keys of the last tile.
template <int kTiles, int kD, bool kLast>
__device__ void attend(const RowFragment<kD>& q, Cursor<kD, kLast>& keys, Cursor<kD, kLast>& values,
                       int last_keys, float scale_log2, Attended<kD>& to) {
  float s[kTiles][1][2][4];
  float top[2] = {to.most[0], to.most[1]}, shift[2];
#pragma unroll
  for (int j = 0; j < kTiles; ++j) {
    dot_rows(q, keys.rows(), s[j][0]);
    keys.advance();
    if constexpr (kLast) {
      const int key = 2 * (int(threadIdx.x) % 4);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        if (key + i / 4 * 8 + i % 2 >= last_keys) s[j][0][i / 4][i % 4] = -INFINITY;
      }
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) top[i / 2 % 2] = fmaxf(top[i / 2 % 2], s[j][0][i / 4][i % 4]);
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    top[r] = fmaxf(top[r], __shfl_xor_sync(kFullMask, top[r], 1));
    top[r] = fmaxf(top[r], __shfl_xor_sync(kFullMask, top[r], 2));
    const float shrink = fast_exp2((to.most[r] - top[r]) * scale_log2);
    to.most[r] = top[r];
    shift[r] = -top[r] * scale_log2;
    to.sum[r] *= shrink;
#pragma unroll
    for (auto& column : to.out[0]) column[2 * r] *= shrink, column[2 * r + 1] *= shrink;
  }
#pragma unroll
  for (int j = 0; j < kTiles; ++j) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      float& x = s[j][0][i / 4][i % 4];
      x = fast_exp2(fmaf(x, scale_log2, shift[i / 2 % 2]));
      to.sum[i / 2 % 2] += x;
    }
    add_product(to.out, s[j], values);
    values.advance();
  }
}

/// 16 queries of one instance: o replaces q in its plane.
template <int kD>
__device__ void attend_tile(const TileReader<kD>& reader, unsigned keys, unsigned values,
                            char* plane, int mask, int tile, int tokens, float scale_log2,
                            float* lse) {
  constexpr int kTogether = kD == 32 ? 4 : 1;  // tiles for which there are registers
  const int g = int(threadIdx.x) % kWarpSize / 4, t = int(threadIdx.x) % 4;
  const RowFragment<kD> q = reader.rows(shared_address(plane), tile, mask);
  Attended<kD> to;
  auto keys_at = reader.first(keys), values_at = reader.first(values);
  int left = reader.tiles() - 1;
#pragma unroll 1
  for (; left >= kTogether; left -= kTogether) {
    attend<kTogether>(q, keys_at, values_at, 16, scale_log2, to);
  }
#pragma unroll 1
  for (; left > 0; --left) attend<1>(q, keys_at, values_at, 16, scale_log2, to);
  auto last_keys = reader.last(keys), last_values = reader.last(values);
  attend<1>(q, last_keys, last_values, reader.last_rows(), scale_log2, to);

  __syncwarp();  // all lanes have their q
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float sum = to.sum[r];
    sum += __shfl_xor_sync(kFullMask, sum, 1);
    sum += __shfl_xor_sync(kFullMask, sum, 2);
    const int row = tile * 16 + g + 8 * r;
    if (row >= tokens) continue;
    const float factor = 1 / sum;
#pragma unroll
    for (int c = 0; c < kD / 8; ++c) {
      *reinterpret_cast<unsigned*>(plane + (Rows<kD>::offset(row, c) ^ mask) + 4 * t) =
          pack_bf16(to.out[0][c][2 * r] * factor, to.out[0][c][2 * r + 1] * factor);
    }
    if (lse != nullptr && t == 0) lse[row] = fmaf(to.most[r] * scale_log2, kLn2, logf(sum));
  }
}

/// Writes the planes with their heads interleaved.
template <int kD, int kGroupBits>
__device__ void write_interleaved(const Block& block, char* planes, bf16* out) {
  using Lane = Interleaved<kD, kGroupBits>;
  const Lane lane(block);
  lane.for_each_row([&](int row) {
    if (row >= lane.rows) return;
    int token, instance;
    lane.find(block, row, &token, &instance);
#pragma unroll
    for (int piece = 0; piece < Lane::kPieces; ++piece) {
      const char* from = lane.place(planes, token, instance, piece);
      Pack<bf16, 8> to;
#pragma unroll
      for (int k = 0; k < Lane::kHeads; ++k) {
        const auto run = *reinterpret_cast<const Pack<bf16, Lane::kRun>*>(from);
        from += lane.plane_bytes;
#pragma unroll
        for (int e = 0; e < Lane::kRun; ++e) to.v[e * Lane::kHeads + k] = run.v[e];
      }
      *reinterpret_cast<Pack<bf16, 8>*>(out + lane.global(block, row, piece)) = to;
    }
  });
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

  const unsigned base = shared_address(memory);
  copy_stage<kD>(p, block, plan, place, 0, base);
  for (int stage = 0; stage < plan.stages; ++stage) {
    wait_copies();
    __syncthreads();
    const int next = stage + 1;
    const bool ahead = place.may_run_ahead(stage);
    if (next < plan.stages && ahead) copy_stage<kD>(p, block, plan, place, next, base);
    const int first = stage * plan.stage, count = min(plan.stage, block.instances - first);
    for (int unit = int(threadIdx.x) / kWarpSize; unit < count * tiles;
         unit += int(blockDim.x) / kWarpSize) {
      const int local = unit / tiles, instance = first + local;
      const unsigned keys = base + place.keys(stage) + local * plane_bytes;
      attend_tile(reader, keys, keys + place.stage_bytes, memory + instance * plane_bytes,
                  plane_mask(instance), unit - local * tiles, block.tokens, scale_log2,
                  p.lse == nullptr ? nullptr : p.lse + block.first_sum() + instance * block.tokens);
    }
    if (next < plan.stages && !ahead) {
      __syncthreads();
      copy_stage<kD>(p, block, plan, place, next, base);
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
