// SPDX-License-Identifier: Apache-2.0
// Steps that arrive while others are multiplied, for rungs 6 and 7, which differ in the order of w's
// lines in shared memory.
#pragma once
#include "bench/ladder/linear_gelu_5_ldmatrix.cuh"

namespace hh::ladder::warps {

constexpr int kStages = 3;
constexpr int kPipelineBytes = kStages * 2 * kBytes;

/// By cp.async; line_place(line) is where a line lies.
template <class LinePlace>
__device__ void bring_async(const bf16* matrix, std::int64_t first_line, std::int64_t lines,
                            int first, int in, unsigned to, const LinePlace& line_place) {
  const Packs packs;
#pragma unroll
  for (int line = packs.line; line < kTile; line += 64) {
    const bool inside = first_line + line < lines && first + packs.e < in;
    const bf16* from = inside ? matrix + (first_line + line) * in + first + packs.e : matrix;
    gpu::copy16_async_or_zeros(to + 2 * (line_place(line) * kPitch + packs.e), from, inside);
  }
}

/// A block's sums; the two steps after the one that is multiplied are under way.
template <class LinePlace>
__device__ void pipelined_sums(const LinearGelu& p, const TilePlace<kTile, kTile>& tile,
                               unsigned memory, const LinePlace& w_place, Sums& sums) {
  const int steps = (p.in + kStep - 1) / kStep;
  const auto bring_step = [&](int step) {
    if (step < steps) {
      const unsigned to = memory + step % kStages * 2 * kBytes;
      bring_async(p.x, tile.row, p.rows, step * kStep, p.in, to, [](int line) { return line; });
      bring_async(p.weight, tile.col, p.hidden, step * kStep, p.in, to + kBytes, w_place);
    }
    gpu::commit_copies();  // also when there is none, so that the groups can be counted
  };
#pragma unroll
  for (int step = 0; step < kStages - 1; ++step) bring_step(step);
  for (int step = 0; step < steps; ++step) {
    gpu::wait_copies_but<kStages - 2>();
    __syncthreads();  // this step is there for all, and the one before has been read by all
    bring_step(step + kStages - 1);
    const unsigned x = memory + step % kStages * 2 * kBytes;
    add_step(LineOperands(x, x + kBytes), sums);
  }
}

}  // namespace hh::ladder::warps
