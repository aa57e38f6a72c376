// SPDX-License-Identifier: Apache-2.0
// A block's 128 x 128 outputs on tensor cores, for rungs 4 to 7, which differ in how the operands
// come to shared memory, from there to the instruction, and the sums to memory. Eight warps have
// 64 x 32 each. Fragments: see kernels/core/mma.cuh.
#pragma once
#include "bench/ladder/linear_gelu_sums.cuh"

namespace hh::ladder::warps {

constexpr int kTile = 128, kStep = 32, kThreads = 256;
constexpr int kPitch = kStep + 8;  // elements from line to line: 8 of them lie on different banks
constexpr int kBytes = kTile * kPitch * 2;  // of one operand's step

using Sums = float[4][4][4];  // [16 rows][8 columns][register]

struct Warp {
  int lane = int(threadIdx.x) % 32;
  int row = int(threadIdx.x) / 32 % 2 * 64, col = int(threadIdx.x) / 64 * 32;  // in the tile
};

/// A thread's two packs of 8 elements, of 128 lines x 32.
struct Packs {
  int line = int(threadIdx.x) / 4, e = int(threadIdx.x) % 4 * 8;  // and line + 64
};

/// Through registers; zeros past the end.
__device__ inline void bring(const bf16* matrix, std::int64_t first_line, std::int64_t lines,
                             int first, int in, unsigned to) {
  const Packs packs;
#pragma unroll
  for (int line = packs.line; line < kTile; line += 64) {
    unsigned values[4] = {};
    if (first_line + line < lines && first + packs.e < in) {
      gpu::load16(values, matrix + (first_line + line) * in + first + packs.e);
    }
    gpu::store<16>(values, to + 2 * (line * kPitch + packs.e));
  }
}

/// sums += of a step. Operands gives, of 16 elements `part`: left(part, i, a), 16 rows;
/// right(part, j, b), 16 columns, the first 8 in b[0] and b[1].
template <class Operands>
__device__ void add_step(const Operands& operands, Sums& sums) {
#pragma unroll
  for (int part = 0; part < kStep / 16; ++part) {
    unsigned a[4][4], b[2][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) operands.left(part, i, a[i]);
#pragma unroll
    for (int j = 0; j < 2; ++j) operands.right(part, j, b[j]);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        gpu::mma_add<bf16>(sums[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
      }
    }
  }
}

/// Element by element: a lane's are pairs, 8 columns apart.
__device__ inline void finish_pairs(const LinearGelu& p, const TilePlace<kTile, kTile>& tile,
                                    const Sums& sums) {
  const Warp warp;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        finish_sum(p, tile.row + warp.row + i * 16 + k / 2 * 8 + warp.lane / 4,
                   tile.col + warp.col + j * 8 + warp.lane % 4 * 2 + k % 2, sums[i][j][k]);
      }
    }
  }
}

/// The whole of rungs 4 and 5.
template <class Operands>
__device__ void one_step_at_a_time(const LinearGelu& p, int across) {
  __shared__ alignas(16) bf16 memory[2 * kTile * kPitch];
  const unsigned x = gpu::shared_address(memory), w = x + kBytes;
  const TilePlace<kTile, kTile> tile(across);
  Sums sums = {};
  for (int first = 0; first < p.in; first += kStep) {
    __syncthreads();
    bring(p.x, tile.row, p.rows, first, p.in, x);
    bring(p.weight, tile.col, p.hidden, first, p.in, w);
    __syncthreads();
    add_step(Operands(x, w), sums);
  }
  finish_pairs(p, tile, sums);
}

}  // namespace hh::ladder::warps
