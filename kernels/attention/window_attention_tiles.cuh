// SPDX-License-Identifier: Apache-2.0
// What the tensor-core kernels of window attention share: which windows and heads a block takes,
// and where their rows lie in shared memory.
//
// An instance is one head of one window. Its N rows of q, k, v, o or dout, kD elements each (T:
// bf16, f16 or float), are a plane of shared memory. The interleaved arrays (channel e*H + h) are
// separated into planes, or put together from them, on their way from and to global memory: a
// sector of 32 bytes has one e of 16 heads (of 8 in float), so a block takes all heads of a window,
// or those that share sectors; or fewer when these don't fit or would leave a GPU idle (cost()).
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

/// log2 of the heads that share a sector of 32 bytes of an interleaved row.
template <class T>
constexpr int kSectorBits = sizeof(T) == 2 ? 4 : 3;

/// Rows of kD elements in shared memory. The 16-byte chunks of a row are permuted so that none of
/// these share a bank: 8 chunks of one column; chunks 4j to 4j + 3 of rows 2i and 2i + 1; of rows
/// of 128 bytes or more, chunks j and j + 4 of 4 even rows, or of 4 odd ones.
template <class T, int kD>
struct Rows {
  static constexpr int kChunks = kD / kVector<T>, kBytes = kD * int(sizeof(T));
  static __device__ int offset(int row, int chunk) {
    const int mask = kBytes == 64 ? row / 2 % 4 : row % 2 * 4 + row / 2 % 4;
    return row * kBytes + (chunk ^ mask) * 16;
  }
};
/// Half of the planes of heads that share sectors are permuted once more, because a warp that takes
/// them apart writes 16 e's to two planes at once. Of byte offsets in a row.
template <class T>
__device__ int plane_mask(int instance) {
  return instance / kVector<T> % 2 * 16 * int(sizeof(T));
}

/// Calls body(plane of the stage, token, chunk) for the chunks of `count` planes.
template <class T, int kD, class Body>
__device__ void for_each_chunk(const Block& block, int count, const Body& body) {
  const int chunk = int(threadIdx.x) % Rows<T, kD>::kChunks;
  const int step = int(blockDim.x) / Rows<T, kD>::kChunks;
  for (int plane = 0; plane < count; ++plane) {
    for (int token = int(threadIdx.x) / Rows<T, kD>::kChunks; token < block.tokens();
         token += step) {
      body(plane, token, chunk);
    }
  }
}

/// A lane's part of a block's rows of interleaved heads: chunks of neighbouring channels, which are
/// kRun e's of kHeads heads; kRun > 1 when the block has all heads (kAll). A warp takes kRows rows
/// at once, or a row in kPieces.
template <class T, int kD, int kGroupBits, bool kAll>
struct Interleaved {
  static constexpr int kGroup = 1 << kGroupBits;
  static constexpr int kHeads = kGroup < kVector<T> ? kGroup : kVector<T>;
  static constexpr int kRun = kAll ? kVector<T> / kHeads : 1;
  static constexpr int kChannels = kHeads * kRun;            // of a chunk
  static constexpr int kBytes = kChannels * int(sizeof(T));  // of a chunk
  static constexpr int kRunBytes = kRun * int(sizeof(T));    // of a head of a chunk
  static constexpr int kOfRow = kD * kGroup / kChannels;     // chunks of a row
  static constexpr int kOfE = kGroup / kHeads;               // chunks of one e
  static constexpr int kRowLanes = kOfRow < kWarpSize ? kOfRow : kWarpSize;
  static constexpr int kRows = kWarpSize / kRowLanes, kPieces = kOfRow / kRowLanes;

  __device__ explicit Interleaved(const Block& block)
      : chunk(int(threadIdx.x) % kRowLanes),
        head(chunk % kOfE * kHeads),
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
    const int mask = kOfE > 1 ? plane_mask<T>(head) : 0, at = e(piece);
    return planes + instance * block.plan.plane_bytes +
           (Rows<T, kD>::offset(token, at / kVector<T>) ^ mask) + at % kVector<T> * int(sizeof(T));
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
template <class T, int kD, class Body>
__device__ void with_interleaved(const Block& block, const Body& body) {
  const int bits = block.plan.group_bits;
  if (block.shape.heads == block.plan.group()) {
    if (bits == 0) return body(Interleaved<T, kD, 0, true>(block));
    if (bits == 1) return body(Interleaved<T, kD, 1, true>(block));
    if (bits == 2) return body(Interleaved<T, kD, 2, true>(block));
  } else {
    if (bits == 0) return body(Interleaved<T, kD, 0, false>(block));
    if (bits == 1) return body(Interleaved<T, kD, 1, false>(block));
    if (bits == 2) return body(Interleaved<T, kD, 2, false>(block));
  }
  if (kSectorBits < T >> 3 && bits > 3)
    return body(Interleaved<T, kD, kSectorBits<T>, true>(block));
  return body(Interleaved<T, kD, 3, true>(block));
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
inline std::int64_t cost(const WindowAttentionShape& s, const Plan& plan, int sector_heads,
                         int multiprocessors) {
  const std::int64_t rounds = ceil_div(blocks(s, plan), std::int64_t{multiprocessors}) *
                              plan.stages *
                              ceil_div(plan.stage * plan.units * kWarpSize, plan.threads);
  return rounds * (15 + ceil_div(std::min(s.heads, sector_heads), plan.group()));
}

/// The cheapest plan. A warp has `tiles_of_warp` tiles of 16 rows of an instance, a block at most
/// `max_warps`. bytes(plan) is the shared memory that a plan needs. False when there is no plan for
/// the shape.
template <class T, class Bytes>
bool make_plan(const WindowAttentionShape& s, int max_warps, int tiles_of_warp, const Bytes& bytes,
               Plan* best) {
  if (s.tokens < 2) return false;
  const auto limit = std::size_t(device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  const int multiprocessors = device_attribute(cudaDevAttrMultiProcessorCount);
  Plan plan;
  const int units = plan.units = ceil_div(s.tokens, 16 * tiles_of_warp);
  plan.channels = s.channels();
  plan.plane_bytes = s.tokens * s.head_dim * int(sizeof(T));
  plan.reciprocal = unsigned((std::uint64_t{1} << 32) / unsigned(s.tokens) + 1);
  std::int64_t least = -1;
  for (plan.group_bits = kSectorBits<T>; plan.group_bits >= 0; --plan.group_bits) {
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
    const std::int64_t found = cost(s, plan, 1 << kSectorBits<T>, multiprocessors);
    if (least < 0 || found < least) {
      least = found;
      *best = plan;
    }
  }
  return least >= 0;
}

}  // namespace attention_mma
}  // namespace hh::gpu
