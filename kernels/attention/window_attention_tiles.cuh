// What the tensor-core kernels of window attention share: which windows and heads a block takes,
// where their rows lie in shared memory, and how a warp reads tiles of 16 rows.
//
// An instance is one head of one window. Its N rows of q, k, v, o or dout, kD bf16 each, are a
// plane of shared memory. The interleaved arrays (channel e*H + h) are separated into planes, or
// put together from them, on their way from and to global memory: a sector of 32 bytes has one e of
// 16 heads, so a block takes all heads of a window, or 16 of them.
#pragma once
#include <algorithm>

#include "kernels/attention/window_attention.h"
#include "kernels/core/launch.cuh"
#include "kernels/core/mma.cuh"

namespace hh::gpu {
namespace attention_mma {

constexpr float kLog2e = 1.44269504f, kLn2 = 0.693147181f;

/// How the work is divided. Powers of two: group, and so the chunks of a row of interleaved heads.
struct Plan {
  int group_bits;       // log2 of the heads of a block
  int windows;          // of a block; 1 unless it has all heads
  int stage;            // instances whose k and v are in shared memory together
  int stages;           // of a block
  bool doubled;         // k and v of two stages have a place besides the planes
  int threads;          // a warp for each tile of a stage, if they are few enough
  unsigned reciprocal;  // of the tokens
  int group() const { return 1 << group_bits; }
};

/// A block's instances. Instance i is head `head` + i % group of window `window` + i / group.
struct Block {
  __device__ Block(const WindowAttentionShape& s, const Plan& plan)
      : tokens(s.tokens),
        channels(s.heads * s.head_dim),
        heads(s.heads),
        group_bits(plan.group_bits),
        reciprocal(plan.reciprocal) {
    const int groups = s.heads >> group_bits;
    window = std::int64_t{int(blockIdx.x) / groups} * plan.windows;
    head = int(blockIdx.x) % groups << group_bits;
    instances = int(min(std::int64_t{plan.windows}, s.windows - window)) << group_bits;
  }
  __device__ std::int64_t row(int instance) const {  // of q, k, v and out, of its first token
    return (window + (instance >> group_bits)) * tokens;
  }
  __device__ int head_of(int instance) const { return head + (instance & ((1 << group_bits) - 1)); }
  /// Where the block's rows of lse and D begin; instance i has rows i*N to (i+1)*N - 1.
  __device__ std::int64_t first_sum() const { return (window * heads + head) * tokens; }
  /// i / tokens, for i below 2^16.
  __device__ int divided_by_tokens(int i) const { return int(__umulhi(unsigned(i), reciprocal)); }

  std::int64_t window;
  int tokens, channels, heads, head, group_bits, instances;
  unsigned reciprocal;
};

/// Rows of kD bf16 in shared memory. The 16-byte chunks of a row are permuted so that neither 8
/// chunks of one column nor 4 chunks of two consecutive rows share a bank.
template <int kD>
struct Rows {
  static constexpr int kChunks = kD / 8, kBytes = 2 * kD;
  static __device__ int offset(int row, int chunk) {
    const int mask = kD == 32 ? row / 2 % 4 : row % 2 * 4 + row / 2 % 4;
    return row * kBytes + (chunk ^ mask) * 16;
  }
};
/// The planes of instances 8 to 15 are permuted once more, because a warp that takes 16 heads apart
/// writes to planes i and i + 8 at once. Of byte offsets in a row.
__device__ inline int plane_mask(int instance) { return instance / 8 % 2 * 32; }

/// Calls body(instance, its offset in the stage, token, chunk) for every chunk of a stage.
template <int kD, class Body>
__device__ void for_each_chunk(const Block& block, int first, int count, const Body& body) {
  for (int i = int(threadIdx.x); i < count * block.tokens * Rows<kD>::kChunks;
       i += int(blockDim.x)) {
    const int row = i / Rows<kD>::kChunks, chunk = i % Rows<kD>::kChunks;
    const int local = block.divided_by_tokens(row);
    body(first + local, local * block.tokens * Rows<kD>::kBytes, row - local * block.tokens, chunk);
  }
}

/// 16 rows as an operand of a sum over e: as a left operand 16 rows of the result, as a right
/// operand 16 columns. Lane t of four holds e = 8t.. of every 32, which is another order of the sum
/// than the instruction's, but the same for both operands.
template <int kD>
struct RowFragment {
  unsigned v[2][kD / 32][4];  // rows g and g + 8
};

/// Reads tiles of 16 rows of a plane. Past the last token it reads the last one again: what it
/// gives is either not stored or has weight 0.
template <int kD>
class TileReader {
 public:
  __device__ explicit TileReader(int tokens) : last_tile_((tokens - 1) / 16) {
    const int lane = int(threadIdx.x) % kWarpSize, limit = tokens - 1 - last_tile_ * 16;
    const int g = lane / 4, t = lane % 4;
    rows_ = Rows<kD>::offset(g, t);
    last_rows_[0] = Rows<kD>::offset(min(g, limit), t);
    last_rows_[1] = Rows<kD>::offset(min(g + 8, limit), t);
    columns_ = Rows<kD>::offset(lane % 16, lane / 16);
    last_columns_ = Rows<kD>::offset(min(lane % 16, limit), lane / 16);
  }
  __device__ int tiles() const { return last_tile_ + 1; }
  __device__ bool is_last(int tile) const { return tile == last_tile_; }

  __device__ RowFragment<kD> rows(const char* plane, int tile, int mask = 0) const {
    RowFragment<kD> to;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int offset = is_last(tile) ? last_rows_[i] : rows_ + i * 8 * Rows<kD>::kBytes;
#pragma unroll
      for (int j = 0; j < kD / 32; ++j) {
        const auto chunk = *reinterpret_cast<const uint4*>(plane + tile * 16 * Rows<kD>::kBytes +
                                                           (offset ^ mask ^ (j * 64)));
        to.v[i][j][0] = chunk.x;
        to.v[i][j][1] = chunk.y;
        to.v[i][j][2] = chunk.z;
        to.v[i][j][3] = chunk.w;
      }
    }
    return to;
  }

  /// The inverse of rows(), without the rows that there aren't.
  __device__ void store_rows(const RowFragment<kD>& from, int tile, int tokens, char* plane) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (tile * 16 + int(threadIdx.x) % kWarpSize / 4 + 8 * i >= tokens) continue;
#pragma unroll
      for (int j = 0; j < kD / 32; ++j) {
        *reinterpret_cast<uint4*>(plane + tile * 16 * Rows<kD>::kBytes +
                                  ((rows_ + i * 8 * Rows<kD>::kBytes) ^ (j * 64))) =
            make_uint4(from.v[i][j][0], from.v[i][j][1], from.v[i][j][2], from.v[i][j][3]);
      }
    }
  }

  /// Right operands of a sum over the rows: to[0], to[1] for columns e = 16*part to 16*part + 7,
  /// to[2], to[3] for the 8 columns after.
  __device__ void columns(const char* plane, int tile, int part, int mask,
                          unsigned (&to)[4]) const {
    const int offset = is_last(tile) ? last_columns_ : columns_;
    load_transposed(to, plane + tile * 16 * Rows<kD>::kBytes + (offset ^ mask ^ (part * 32)));
  }

 private:
  int last_tile_, rows_, last_rows_[2], columns_, last_columns_;
};

/// c = a b^T of 16 x 16: c[i] are columns 8i to 8i + 7.
template <int kD>
__device__ void dot_rows(const RowFragment<kD>& a, const RowFragment<kD>& b, float (&c)[2][4]) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (float& x : c[i]) x = 0;
#pragma unroll
    for (int s = 0; s < kD / 16; ++s) {
      const int j = s / 2, k = s % 2 * 2;
      mma(c[i], a.v[0][j][k], a.v[1][j][k], a.v[0][j][k + 1], a.v[1][j][k + 1], b.v[i][j][k],
          b.v[i][j][k + 1]);
    }
  }
}

/// sums [16, kD] of each of kOwn tiles += its weights [16, 16] times a tile of rows.
template <int kD, int kOwn>
__device__ void add_product(float (&sums)[kOwn][kD / 8][4], const float (&weights)[kOwn][2][4],
                            const TileReader<kD>& reader, const char* plane, int tile,
                            int mask = 0) {
  unsigned a[kOwn][4];
#pragma unroll
  for (int m = 0; m < kOwn; ++m) {
    a[m][0] = pack_bf16(weights[m][0][0], weights[m][0][1]);
    a[m][1] = pack_bf16(weights[m][0][2], weights[m][0][3]);
    a[m][2] = pack_bf16(weights[m][1][0], weights[m][1][1]);
    a[m][3] = pack_bf16(weights[m][1][2], weights[m][1][3]);
  }
#pragma unroll
  for (int part = 0; part < kD / 16; ++part) {
    unsigned b[4];
    reader.columns(plane, tile, part, mask, b);
#pragma unroll
    for (int m = 0; m < kOwn; ++m) {
      mma(sums[m][2 * part], a[m][0], a[m][1], a[m][2], a[m][3], b[0], b[1]);
      mma(sums[m][2 * part + 1], a[m][0], a[m][1], a[m][2], a[m][3], b[2], b[3]);
    }
  }
}

/// Eight consecutive channels of a row of the block's interleaved heads: kRun e's of kHeads heads.
template <int kD, int kGroupBits>
struct Chunk {
  static constexpr int kHeads = 1 << (kGroupBits < 3 ? kGroupBits : 3), kRun = 8 / kHeads;
  static constexpr int kOfRow = (kD << kGroupBits) / 8;  // chunks of a row

  /// The i-th chunk of all rows of the block.
  __device__ Chunk(const Block& block, int i) {
    const int row = i / kOfRow, c = i % kOfRow, window = block.divided_by_tokens(row);
    constexpr int kOfE = kGroupBits > 3 ? 1 << (kGroupBits - 3) : 1;  // chunks of one e
    const int head = c % kOfE * 8;
    e = c / kOfE * kRun;
    token = row - window * block.tokens;
    instance = (window << kGroupBits) + head;
    global =
        (block.window * block.tokens + row) * block.channels + e * block.heads + block.head + head;
  }
  /// The place of the chunk's e's of its k-th head in the planes.
  __device__ char* place(const Block& block, char* planes, int k) const {
    return planes + (instance + k) * block.tokens * Rows<kD>::kBytes +
           (Rows<kD>::offset(token, e / 8) ^ plane_mask(instance + k)) + e % 8 * 2;
  }

  std::int64_t global;  // index of its first element
  int e, token, instance;
};

/// Body gets std::integral_constant<int, group_bits>.
template <class Body>
__device__ void with_group_bits(int group_bits, const Body& body) {
  if (group_bits == 0) return body(std::integral_constant<int, 0>());
  if (group_bits == 1) return body(std::integral_constant<int, 1>());
  if (group_bits == 2) return body(std::integral_constant<int, 2>());
  if (group_bits == 3) return body(std::integral_constant<int, 3>());
  return body(std::integral_constant<int, 4>());
}

/// Most shared memory that a block of the current GPU may have.
inline std::size_t shared_limit() {
  int device = 0, bytes = 0;
  HH_CUDA_CHECK(cudaGetDevice(&device));
  HH_CUDA_CHECK(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  return std::size_t(bytes);
}

/// Below this many windows a window's heads go to several blocks, eight to each: the sectors of
/// interleaved rows are then accessed in part, but the GPU has more blocks.
constexpr int kFewWindows = 16;

/// A warp has `tiles_of_warp` tiles of 16 rows of an instance, a block at most `max_warps`.
/// bytes(plan) is the shared memory that a plan needs. False when there is no plan for the shape.
template <class Bytes>
bool make_plan(const WindowAttentionShape& s, int max_warps, int tiles_of_warp, const Bytes& bytes,
               Plan* plan) {
  const bool few_heads = s.heads == 1 || s.heads == 2 || s.heads == 4;
  if (!(few_heads || s.heads % 8 == 0) || s.tokens < 2) return false;
  const int units = ceil_div(s.tokens, 16 * tiles_of_warp);  // of an instance
  const std::size_t limit = shared_limit();
  plan->reciprocal = unsigned((std::uint64_t{1} << 32) / unsigned(s.tokens) + 1);
  const auto fits = [&](int group_bits) {
    plan->group_bits = group_bits;
    // Windows are packed until a block has a few warps, a stage until it has work for them all.
    plan->windows = s.heads == plan->group() ? std::max(1, 4 / (plan->group() * units)) : 1;
    const int instances = plan->group() * plan->windows;
    plan->stages = ceil_div(instances, std::clamp(max_warps / units, 1, instances));
    plan->stage = ceil_div(instances, plan->stages);
    plan->threads = kWarpSize * std::min(plan->stage * units, max_warps);
    plan->doubled = plan->stages > 1;
    if (bytes(*plan) <= limit) return true;
    plan->doubled = false;
    return bytes(*plan) <= limit;
  };
  if (few_heads) return fits(s.heads / 2);
  if (s.heads % 16 == 0 && s.windows > kFewWindows && fits(4)) return true;
  return fits(3);
}

inline std::int64_t blocks(const WindowAttentionShape& s, const Plan& plan) {
  return ceil_div(s.windows, std::int64_t{plan.windows}) * (s.heads / plan.group());
}

}  // namespace attention_mma
}  // namespace hh::gpu
