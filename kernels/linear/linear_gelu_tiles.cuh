// SPDX-License-Identifier: Apache-2.0
// The product of linear_gelu's kernels, c[rows, cols] = a[rows, inner] b[inner, cols], in tiles on
// tensor cores.
//
// Mapping   A block has a run of tiles, all tiles of a panel of columns one after the other, and
//           then of the next; so many blocks as the GPU holds at once. A warp has 64 x 64 of a
//           tile, in registers. inner goes by in steps of 64, whose operands lie in shared memory:
//           a ring of three steps, filled by cp.async two steps ahead, on into the block's next
//           tile, so that the copies don't stop while a tile is stored. Where a panel's whole b
//           fits beside the ring (kept), it is copied once for the panel's tiles.
// Memory    Lines of 128 bytes (b of backward: a step's rows of the tile's width) whose chunks of 16
//           are permuted by the line's index, so that ldmatrix's eight rows, and a line's eight
//           chunks, lie on different banks.
// Edges     What lies beyond a matrix is zero in shared memory, and isn't stored.
#pragma once
#include "kernels/core/mma.cuh"

namespace hh::gpu {
namespace linear_gelu {

constexpr int kStep = 64;   // of inner, elements
constexpr int kStages = 3;  // steps in the ring
constexpr int kWarpTile = 64;
constexpr int kChunk = 8;  // elements of 16 bytes
constexpr int kStepChunks = kStep / kChunk, kStepBytes = kStep * 2;

template <int kWarpsM_, int kWarpsN_, int kBlocks_>
struct Tile {
  static constexpr int kWarpsM = kWarpsM_, kWarpsN = kWarpsN_;
  static constexpr int kRows = kWarpTile * kWarpsM, kCols = kWarpTile * kWarpsN;
  static constexpr int kThreads = kWarpSize * kWarpsM * kWarpsN;
  static constexpr int kBlocks = kBlocks_;  // of a multiprocessor, by their registers
  static constexpr int kStepBytesA = kRows * kStepBytes, kStepBytesB = kCols * kStepBytes;
};

/// How the work is divided; in constant memory while a kernel runs.
struct Plan {
  int steps = 0;      // of inner
  int row_tiles = 0;  // of a panel
  int panels = 0;
  int tiles_per_block = 0;
  int blocks = 0;
  int kept_panels = 0;  // places for a panel's b: 0 when it isn't kept
  int shared_bytes = 0;
  __host__ __device__ int tiles() const { return row_tiles * panels; }
  /// Blocks that may have tiles of one panel.
  __host__ __device__ int slots() const {
    return (row_tiles + tiles_per_block - 2) / tiles_per_block + 1;
  }
  /// Places of b in shared memory, a step each.
  __host__ __device__ int b_places() const {
    return kept_panels != 0 ? kept_panels * steps : kStages;
  }
};

template <class T>
struct Operands {
  const T* a;
  const T* b;  // in memory [cols, inner], or (kRowsOfB) [inner, cols]
  std::int64_t rows;
  int cols, inner;
};

/// A block's walk through its tiles, step by step.
struct Walk {
  __device__ explicit Walk(const Plan& plan)
      : tile(int(blockIdx.x) * plan.tiles_per_block),
        end(min(tile + plan.tiles_per_block, plan.tiles())),
        panel(tile / plan.row_tiles),
        row_tile(tile - panel * plan.row_tiles) {}
  __device__ bool done() const { return tile >= end; }
  __device__ bool ends_panel(const Plan& plan) const {
    return row_tile + 1 == plan.row_tiles || tile + 1 == end;
  }
  __device__ void next_tile(const Plan& plan) {
    ++tile;
    fresh = ++row_tile == plan.row_tiles;
    if (fresh) row_tile = 0, ++panel, odd = !odd;
  }
  /// Where b of a step lies, the step being so in the ring.
  __device__ int b_place(const Plan& plan, int step, int in_ring) const {
    if (plan.kept_panels == 0) return in_ring;
    return plan.kept_panels == 2 && odd ? plan.steps + step : step;
  }

  int tile, end, panel, row_tile;
  bool fresh = true;  // the first of its panel in this block
  bool odd = false;   // of the block's panels
};

/// Which chunk of a line of 64 elements lies first: all eight differ among the eight lines that
/// ldmatrix takes together. Of a these are neighbours. Of b they are pairs of columns, 8 apart: with
/// columns 2j, 2j + 1 of each 8 as mma's columns of part j, a lane's four parts of a row of c are 8
/// neighbouring columns.
__host__ __device__ constexpr int first_chunk(int line, bool of_b) {
  return of_b ? line % 2 + line / 8 % 4 * 2 : line % 8;
}

/// Copies `kLines` lines of 64 elements (steps of a, or of b by columns) to shared memory. Line i
/// is at `matrix` + (first_line + i) * inner + first; `lines` of them exist, and `inner` elements
/// of each.
template <int kLines, int kThreads, bool kOfB, class T>
__device__ void copy_lines(const T* matrix, std::int64_t first_line, int first, std::int64_t lines,
                           int inner, unsigned to) {
  constexpr int kAtOnce = kThreads / kStepChunks;
  static_assert(kAtOnce % 16 == 0 && kLines % kAtOnce == 0);
  const int line = int(threadIdx.x) / kStepChunks, chunk = int(threadIdx.x) % kStepChunks;
  const bool inside = first + chunk * kChunk < inner;
  const int left = int(min(lines - first_line, std::int64_t{kLines}));
  const T* from = matrix + (first_line + line) * inner + first + chunk * kChunk;
  to += line * kStepBytes;
  const int place = chunk ^ first_chunk(line, kOfB);
#pragma unroll
  for (int i = 0; i < kLines; i += kAtOnce) {
    const bool copy = inside && line + i < left;
    // i has no bit of line's, so neither have their first chunks.
    copy16_async_or_zeros(to + i * kStepBytes + (place ^ first_chunk(i, kOfB)) * 16,
                          copy ? from + std::int64_t{i} * inner : matrix, copy);
  }
}

/// Copies 64 rows of kCols elements of b by rows. Of each 32 columns, pair 2j, 2j + 1 of the t-th 8
/// becomes pair t of chunk j, for the same order of a lane's sums as above: in pieces of 4 bytes,
/// which a kept panel bears.
template <int kCols, int kThreads, class T>
__device__ void copy_rows(const T* b, int first_row, int first_col, int rows, int cols,
                          unsigned to) {
  constexpr int kPairs = kCols / 2, kAtOnce = kThreads / kPairs;
  static_assert(kThreads % kPairs == 0);
  const int row = int(threadIdx.x) / kPairs, pair = int(threadIdx.x) % kPairs;
  const bool inside = first_col + 2 * pair < cols;
  const T* from = b + std::int64_t{first_row + row} * cols + first_col + 2 * pair;
  const int chunk = pair / 16 * 4 + pair % 4, place = pair / 4 % 4;
  to += row * kCols * 2 + place * 4;
#pragma unroll 8
  for (int i = 0; i < kStep; i += kAtOnce) {
    const bool copy = inside && first_row + row + i < rows;
    copy4_async_or_zeros(to + i * kCols * 2 + (chunk ^ (row + i) % 8) * 16,
                         copy ? from + std::int64_t{i} * cols : b, copy);
  }
}

/// The warp's operands of a 16-element part of a step.
struct Fragments {
  unsigned a[4][4], b[4][4];  // of 16 rows; of 16 columns, the first 8 in b[i][0] and b[i][1]
};

/// A warp's 64 x 64 of a tile: c[m][n] is mma's 16 x 8, see mma.cuh, of other columns: a lane's
/// parts 4q to 4q + 3 of a row are columns 32q + 8t to 32q + 8t + 7, in this order.
using Sums = float[4][8][4];

template <class T, class Tile, bool kRowsOfB>
class TileProduct {
 public:
  __device__ TileProduct(const Operands<T>& p, const Plan& plan, unsigned shared)
      : p_(p), plan_(plan), ring_(shared), b_(shared + kStages * Tile::kStepBytesA), ahead_(plan) {
    const int lane = int(threadIdx.x) % kWarpSize;
    a_at_ = (warp_row() + lane % 16) * kStepBytes + (lane / 16 ^ lane % 8) * 16;
    if constexpr (kRowsOfB) {
      b_at_ = (lane / 8 % 2 * 8 + lane % 8) * (Tile::kCols * 2) + warp_col() * 2 +
              (lane / 16 ^ lane % 8) * 16;
    } else {
      const int line = lane % 8 / 2 * 8 + lane / 16 * 2 + lane % 2;  // see first_chunk
      b_at_ = (warp_col() + line) * kStepBytes + (lane / 8 % 2 ^ first_chunk(line, true)) * 16;
    }
#pragma unroll
    for (int i = 0; i < kStages - 1; ++i) copy_ahead();
  }

  /// Where the warp's part of a tile begins.
  static __device__ int warp_row() {
    return int(threadIdx.x) / kWarpSize % Tile::kWarpsM * kWarpTile;
  }
  static __device__ int warp_col() {
    return int(threadIdx.x) / kWarpSize / Tile::kWarpsM * kWarpTile;
  }

  /// c = the warp's part of the tile that `at` stands on, which is the block's next.
  __device__ void multiply(const Walk& at, Sums& c) {
#pragma unroll
    for (auto& row : c) {
#pragma unroll
      for (auto& part : row) part[0] = part[1] = part[2] = part[3] = 0;
    }
#pragma unroll 1
    for (int step = 0; step < plan_.steps; ++step) {
      wait_copies_but<kStages - 2>();
      __syncthreads();  // all copies of this step are there, and the step before has been read
      copy_ahead();
      add_step(ring_ + place_ * Tile::kStepBytesA,
               b_ + at.b_place(plan_, step, place_) * Tile::kStepBytesB, c);
      place_ = place_ + 1 == kStages ? 0 : place_ + 1;
    }
  }

 private:
  /// Copies the step that comes kStages - 1 after the one to be multiplied next.
  __device__ void copy_ahead() {
    if (!ahead_.done()) {
      const int first = ahead_step_ * kStep;
      copy_lines<Tile::kRows, Tile::kThreads, false>(
          p_.a, std::int64_t{ahead_.row_tile} * Tile::kRows, first, p_.rows, p_.inner,
          ring_ + ahead_place_ * Tile::kStepBytesA);
      if (plan_.kept_panels == 0 || ahead_.fresh) {
        const unsigned to =
            b_ + ahead_.b_place(plan_, ahead_step_, ahead_place_) * Tile::kStepBytesB;
        const int col = ahead_.panel * Tile::kCols;
        if constexpr (kRowsOfB) {
          copy_rows<Tile::kCols, Tile::kThreads>(p_.b, first, col, p_.inner, p_.cols, to);
        } else {
          copy_lines<Tile::kCols, Tile::kThreads, true>(p_.b, col, first, p_.cols, p_.inner, to);
        }
      }
      ahead_place_ = ahead_place_ + 1 == kStages ? 0 : ahead_place_ + 1;
      if (++ahead_step_ == plan_.steps) {
        ahead_step_ = 0;
        ahead_.next_tile(plan_);
      }
    }
    commit_copies();
  }

  __device__ void load_fragments(unsigned a, unsigned b, int part, Fragments* to) const {
    // The permutation makes "16 elements on" an exclusive or.
    const unsigned a_row = a + (a_at_ ^ part * 32);
#pragma unroll
    for (int i = 0; i < 4; ++i) load_matrices(to->a[i], a_row + i * 16 * kStepBytes);
    if constexpr (kRowsOfB) {
      const unsigned row = b + part * 16 * Tile::kCols * 2;
#pragma unroll
      for (int i = 0; i < 4; ++i) load_transposed(to->b[i], row + (b_at_ ^ i * 32));
    } else {
      const unsigned row = b + (b_at_ ^ part * 32);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        load_matrices(to->b[i], row + (i / 2 * 32 + i % 2 * 4) * kStepBytes);
      }
    }
  }

  __device__ void add_step(unsigned a, unsigned b, Sums& c) const {
    Fragments f[2];
    load_fragments(a, b, 0, &f[0]);
#pragma unroll
    for (int part = 0; part < kStep / 16; ++part) {
      if (part + 1 < kStep / 16) load_fragments(a, b, part + 1, &f[(part + 1) % 2]);
      const Fragments& now = f[part % 2];
#pragma unroll
      for (int m = 0; m < 4; ++m) {
#pragma unroll
        for (int n = 0; n < 8; ++n) {
          mma_add<T>(c[m][n], now.a[m], now.b[n / 2][n % 2 * 2], now.b[n / 2][n % 2 * 2 + 1]);
        }
      }
    }
  }

  const Operands<T>& p_;
  const Plan& plan_;
  unsigned ring_, b_;     // in shared memory
  unsigned a_at_, b_at_;  // the lane's row of the first matrices, in a step
  Walk ahead_;
  int ahead_step_ = 0, ahead_place_ = 0, place_ = 0;
};

}  // namespace linear_gelu
}  // namespace hh::gpu
