// What the tensor-core kernels of window attention share: which windows and heads a block takes,
// where their rows lie in shared memory, and how a warp reads tiles of 16 rows.
//
// An instance is one head of one window. Its N rows of q, k, v, o or dout, kD 16-bit elements each
// (T: bf16 or f16), are a plane of shared memory. The interleaved arrays (channel e*H + h) are
// separated into planes, or put together from them, on their way from and to global memory: a
// sector of 32 bytes has one e of 16 heads, so a block takes all heads of a window, or 16 of them,
// or fewer when there are too few windows to keep a GPU busy (cost()).
#pragma once
#include <algorithm>

#include "kernels/attention/window_attention.h"
#include "kernels/core/launch.cuh"
#include "kernels/core/mma.cuh"

namespace hh::gpu {
namespace attention_mma {

constexpr float kLog2e = 1.44269504f, kLn2 = 0.693147181f;

/// How the work is divided. In constant memory while a kernel runs, where it costs no registers.
struct Plan {
  int group_bits;       // log2 of the heads of a block
  int windows;          // of a block; 1 unless it has all heads
  int units;            // warps for an instance
  int stage;            // instances whose k and v are in shared memory together
  int stages;           // of a block
  bool doubled;         // k and v of two stages have a place besides the planes
  int threads;          // a warp for each unit of a stage, if they are few enough
  int channels;         // H*d
  int plane_bytes;      // of an instance's rows
  int stage_bytes;      // of a stage's planes
  unsigned reciprocal;  // of the tokens
  __host__ __device__ int group() const { return 1 << group_bits; }
};

/// A block's instances. Instance i is head `head` + i % group of window `window` + i / group.
struct Block {
  __device__ Block(const WindowAttentionShape& s, const Plan& plan) : shape(s), plan(plan) {
    const int groups = s.heads >> plan.group_bits;
    window = std::int64_t{int(blockIdx.x) / groups} * plan.windows;
    head = int(blockIdx.x) % groups << plan.group_bits;
    instances = int(min(std::int64_t{plan.windows}, s.windows - window)) << plan.group_bits;
  }
  __device__ int tokens() const { return shape.tokens; }
  /// Index of the first element of token 0 of an instance's q.
  __device__ std::int64_t q(int instance) const {
    return (window + (instance >> plan.group_bits)) * tokens() * 3 * plan.channels +
           (head + (instance & (plan.group() - 1))) * shape.head_dim;
  }
  /// Where the block's rows of lse and D begin; instance i has rows i*N to (i+1)*N - 1.
  __device__ std::int64_t first_sum() const { return (window * shape.heads + head) * tokens(); }
  /// i / tokens, for i below 2^16.
  __device__ int divided_by_tokens(int i) const {
    return int(__umulhi(unsigned(i), plan.reciprocal));
  }

  const WindowAttentionShape& shape;
  const Plan& plan;
  std::int64_t window;
  int head, instances;
};

/// Rows of kD elements in shared memory. The 16-byte chunks of a row are permuted so that neither 8
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

/// Calls body(plane of the stage, token, chunk) for the chunks of `count` planes.
template <int kD, class Body>
__device__ void for_each_chunk(const Block& block, int count, const Body& body) {
  const int chunk = int(threadIdx.x) % Rows<kD>::kChunks;
  const int step = int(blockDim.x) / Rows<kD>::kChunks;
  for (int plane = 0; plane < count; ++plane) {
    for (int token = int(threadIdx.x) / Rows<kD>::kChunks; token < block.tokens(); token += step) {
      body(plane, token, chunk);
    }
  }
}

/// 16 rows as an operand of a sum over e: as a left operand 16 rows of the result, as a right
/// operand 16 columns. Lane t of four holds e = 8t.. of every 32, which is another order of the sum
/// than the instruction's, but the same for both operands.
template <int kD>
struct RowFragment {
  unsigned v[2][kD / 32][4];  // rows g and g + 8

  __device__ void left(int step, unsigned (&a)[4]) const {
    const int j = step / 2, k = step % 2 * 2;
    a[0] = v[0][j][k];
    a[1] = v[1][j][k];
    a[2] = v[0][j][k + 1];
    a[3] = v[1][j][k + 1];
  }
};

/// Where a lane reads a tile of 16 rows of a plane. The last tile (kLast) may be incomplete: past
/// the last token it reads the last one again, and what comes of it is not stored or has weight 0.
template <int kD, bool kLast>
struct Cursor {
  static constexpr bool kOfLast = kLast;
  unsigned row[kLast ? 2 : 1][kD / 32], column[kD / 16];  // addresses in shared memory

  __device__ RowFragment<kD> rows() const {
    constexpr int kSecond = kLast ? 0 : 8 * Rows<kD>::kBytes;
    RowFragment<kD> to;
#pragma unroll
    for (int j = 0; j < kD / 32; ++j) {
      load16<0>(to.v[0][j], row[0][j]);
      load16<kSecond>(to.v[1][j], row[kLast ? 1 : 0][j]);
    }
    return to;
  }
  /// Right operands of a sum over the rows: to[0], to[1] for e = 16*part to 16*part + 7, to[2],
  /// to[3] for the 8 e's after.
  __device__ void columns(int part, unsigned (&to)[4]) const { load_transposed(to, column[part]); }

  __device__ void advance(int tiles = 1) {
#pragma unroll
    for (auto& half : row) {
#pragma unroll
      for (unsigned& address : half) address += tiles * 16 * Rows<kD>::kBytes;
    }
#pragma unroll
    for (unsigned& address : column) address += tiles * 16 * Rows<kD>::kBytes;
  }
};

template <int kD>
class TileReader {
 public:
  __device__ explicit TileReader(int tokens)
      : last_tile_((tokens - 1) / 16), limit_(tokens - 1 - last_tile_ * 16) {}
  __device__ int tiles() const { return last_tile_ + 1; }
  /// Rows of the last tile.
  __device__ int last_rows() const { return limit_ + 1; }

  __device__ Cursor<kD, false> first(unsigned plane, int mask = 0) const {
    return make<false>(plane, mask, 15);
  }
  __device__ Cursor<kD, true> last(unsigned plane, int mask = 0) const {
    return make<true>(plane + last_tile_ * 16 * Rows<kD>::kBytes, mask, limit_);
  }
  __device__ RowFragment<kD> rows(unsigned plane, int tile, int mask = 0) const {
    if (tile == last_tile_) return last(plane, mask).rows();
    return first(plane + tile * 16 * Rows<kD>::kBytes, mask).rows();
  }
  /// The inverse of rows(), for a plane without mask.
  __device__ void store_rows(const RowFragment<kD>& from, int tile, char* plane) const {
    const int lane = int(threadIdx.x) % kWarpSize, rows = tile == last_tile_ ? limit_ + 1 : 16;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = lane / 4 + 8 * i;
      if (row >= rows) continue;
#pragma unroll
      for (int j = 0; j < kD / 32; ++j) {
        *reinterpret_cast<uint4*>(plane + Rows<kD>::offset(tile * 16 + row, lane % 4 + 4 * j)) =
            make_uint4(from.v[i][j][0], from.v[i][j][1], from.v[i][j][2], from.v[i][j][3]);
      }
    }
  }

 private:
  template <bool kLast>
  __device__ Cursor<kD, kLast> make(unsigned plane, int mask, int limit) const {
    const int lane = int(threadIdx.x) % kWarpSize;
    Cursor<kD, kLast> to;
#pragma unroll
    for (int i = 0; i < (kLast ? 2 : 1); ++i) {
#pragma unroll
      for (int j = 0; j < kD / 32; ++j) {
        to.row[i][j] =
            plane + (Rows<kD>::offset(min(lane / 4 + 8 * i, limit), lane % 4 + 4 * j) ^ mask);
      }
    }
#pragma unroll
    for (int part = 0; part < kD / 16; ++part) {
      to.column[part] =
          plane + (Rows<kD>::offset(min(lane % 16, limit), lane / 16 + 2 * part) ^ mask);
    }
    return to;
  }

  int last_tile_, limit_;
};

/// c = a b^T of 16 x 16: c[i] are columns 8i to 8i + 7.
template <class T, int kD>
__device__ void dot_rows(const RowFragment<kD>& a, const RowFragment<kD>& b, float (&c)[2][4]) {
#pragma unroll
  for (int s = 0; s < kD / 16; ++s) {
    unsigned left[4];
    a.left(s, left);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const unsigned b0 = b.v[i][s / 2][s % 2 * 2], b1 = b.v[i][s / 2][s % 2 * 2 + 1];
      if (s == 0) {
        mma<T>(c[i], left, b0, b1);
      } else {
        mma_add<T>(c[i], left, b0, b1);
      }
    }
  }
}

/// sums [16, kD] of each of kOwn tiles += its weights [16, 16] times a tile of rows.
template <class T, int kD, bool kLast, int kOwn>
__device__ void add_product(float (&sums)[kOwn][kD / 8][4], const float (&weights)[kOwn][2][4],
                            const Cursor<kD, kLast>& at) {
  unsigned a[kOwn][4];
#pragma unroll
  for (int m = 0; m < kOwn; ++m) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      a[m][i] = pack_halves<T>(weights[m][i / 2][i % 2 * 2], weights[m][i / 2][i % 2 * 2 + 1]);
    }
  }
#pragma unroll
  for (int part = 0; part < kD / 16; ++part) {
    unsigned b[4];
    at.columns(part, b);
#pragma unroll
    for (int m = 0; m < kOwn; ++m) {
      mma_add<T>(sums[m][2 * part], a[m], b[0], b[1]);
      mma_add<T>(sums[m][2 * part + 1], a[m], b[2], b[3]);
    }
  }
}

/// A lane's part of a block's rows of interleaved heads: chunks of neighbouring channels, which are
/// kRun e's of kHeads heads; kRun > 1 when the block has all heads (kAll). A warp takes kRows rows
/// at once, or a row in kPieces.
template <int kD, int kGroupBits, bool kAll>
struct Interleaved {
  static constexpr int kHeads = 1 << (kGroupBits < 3 ? kGroupBits : 3);
  static constexpr int kRun = kAll ? 8 / kHeads : 1;
  static constexpr int kChannels = kHeads * kRun, kBytes = 2 * kChannels;  // of a chunk
  static constexpr int kOfRow = (kD << kGroupBits) / kChannels;            // chunks of a row
  static constexpr int kOfE = kGroupBits > 3 ? 1 << (kGroupBits - 3) : 1;  // chunks of one e
  static constexpr int kRowLanes = kOfRow < kWarpSize ? kOfRow : kWarpSize;
  static constexpr int kRows = kWarpSize / kRowLanes, kPieces = kOfRow / kRowLanes;

  __device__ explicit Interleaved(const Block& block)
      : chunk(int(threadIdx.x) % kRowLanes),
        head(chunk % kOfE * 8),
        rows((block.instances >> kGroupBits) * block.tokens()),
        first(block.window * block.tokens() * block.plan.channels + block.head + head) {}

  /// Calls body(row) in all lanes of a warp; the row may be past the last one.
  template <class Body>
  __device__ void for_each_row(const Body& body) const {
    const int step = int(blockDim.x) / kWarpSize * kRows;
    for (int i = int(threadIdx.x) / kWarpSize * kRows; i < rows; i += step) {
      body(i + int(threadIdx.x) % kWarpSize / kRowLanes);
    }
  }
  __device__ int e(int piece) const { return (chunk + piece * kRowLanes) / kOfE * kRun; }
  /// Index of the chunk's first element.
  __device__ std::int64_t global(const Block& block, int row, int piece) const {
    return first + std::int64_t{row} * block.plan.channels + e(piece) * block.shape.heads;
  }
  /// The row's token and the first of the lane's instances.
  __device__ void find(const Block& block, int row, int* token, int* instance) const {
    const int window = block.divided_by_tokens(row);
    *token = row - window * block.tokens();
    *instance = (window << kGroupBits) + head;
  }
  /// The place of the chunk's e's of its first head; its others are in the planes after.
  __device__ unsigned place(const Block& block, unsigned planes, int token, int instance,
                            int piece) const {
    const int mask = kGroupBits > 3 ? head * 4 : 0;  // plane_mask
    return planes + instance * block.plan.plane_bytes +
           (Rows<kD>::offset(token, e(piece) / 8) ^ mask) + e(piece) % 8 * 2;
  }

  int chunk, head, rows;
  std::int64_t first;
};

/// Elements 2i and 2i + 1 of a register are its lower and upper half. Gives elements i of a and j
/// of b in a register.
__device__ inline unsigned pair(const unsigned* a, int i, const unsigned* b, int j) {
  return __byte_perm(a[i / 2], b[j / 2],
                     (i % 2 == 0 ? 0x10 : 0x32) | (j % 2 == 0 ? 0x5400 : 0x7600));
}

/// Calls body(Interleaved of the block) by all threads.
template <int kD, class Body>
__device__ void with_interleaved(const Block& block, const Body& body) {
  const int bits = block.plan.group_bits;
  if (block.shape.heads == block.plan.group()) {
    if (bits == 0) return body(Interleaved<kD, 0, true>(block));
    if (bits == 1) return body(Interleaved<kD, 1, true>(block));
    if (bits == 2) return body(Interleaved<kD, 2, true>(block));
  } else {
    if (bits == 0) return body(Interleaved<kD, 0, false>(block));
    if (bits == 1) return body(Interleaved<kD, 1, false>(block));
    if (bits == 2) return body(Interleaved<kD, 2, false>(block));
  }
  if (bits == 3) return body(Interleaved<kD, 3, true>(block));
  return body(Interleaved<kD, 4, true>(block));
}

inline int device_attribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  HH_CUDA_CHECK(cudaGetDevice(&device));
  HH_CUDA_CHECK(cudaDeviceGetAttribute(&value, attribute, device));
  return value;
}

inline std::int64_t blocks(const WindowAttentionShape& s, const Plan& plan) {
  return ceil_div(s.windows, std::int64_t{plan.windows}) * (s.heads / plan.group());
}

/// About the time of the SM that has most to do. Heads that share sectors of interleaved rows
/// should share a block; but if that leaves SMs idle, a block takes fewer, and the sectors, a
/// quarter of the traffic, are accessed by several blocks, which weighs less than a quarter
/// because the computation hides some of it. Each head's bits are the same in any plan.
inline std::int64_t cost(const WindowAttentionShape& s, const Plan& plan, int multiprocessors) {
  const std::int64_t rounds = ceil_div(blocks(s, plan), std::int64_t{multiprocessors}) *
                              plan.stages *
                              ceil_div(plan.stage * plan.units * kWarpSize, plan.threads);
  return rounds * (15 + ceil_div(std::min(s.heads, 16), plan.group()));
}

/// The cheapest plan. A warp has `tiles_of_warp` tiles of 16 rows of an instance, a block at most
/// `max_warps`. bytes(plan) is the shared memory that a plan needs. False when there is no plan for
/// the shape.
template <class Bytes>
bool make_plan(const WindowAttentionShape& s, int max_warps, int tiles_of_warp, const Bytes& bytes,
               Plan* best) {
  if (s.tokens < 2) return false;
  const auto limit = std::size_t(device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  const int multiprocessors = device_attribute(cudaDevAttrMultiProcessorCount);
  Plan plan;
  const int units = plan.units = ceil_div(s.tokens, 16 * tiles_of_warp);
  plan.channels = s.channels();
  plan.plane_bytes = s.tokens * s.head_dim * 2;
  plan.reciprocal = unsigned((std::uint64_t{1} << 32) / unsigned(s.tokens) + 1);
  std::int64_t least = -1;
  for (plan.group_bits = 4; plan.group_bits >= 0; --plan.group_bits) {
    if (s.heads % plan.group() != 0) continue;
    // Windows are packed until a block has a few warps, a stage until it has work for them all.
    plan.windows = s.heads == plan.group() ? std::max(1, 4 / (plan.group() * units)) : 1;
    const int instances = plan.group() * plan.windows;
    plan.stages = ceil_div(instances, std::clamp(max_warps / units, 1, instances));
    plan.stage = ceil_div(instances, plan.stages);
    plan.stage_bytes = plan.stage * plan.plane_bytes;
    const int rounds = ceil_div(plan.stage * units, max_warps);
    plan.threads = kWarpSize * ceil_div(plan.stage * units, rounds);
    plan.doubled = plan.stages > 1;
    if (bytes(plan) > limit) plan.doubled = false;
    if (bytes(plan) > limit) continue;
    const std::int64_t found = cost(s, plan, multiprocessors);
    if (least < 0 || found < least) {
      least = found;
      *best = plan;
    }
  }
  return least >= 0;
}

}  // namespace attention_mma
}  // namespace hh::gpu
