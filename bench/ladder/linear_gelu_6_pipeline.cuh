// SPDX-License-Identifier: Apache-2.0
// Idea    cp.async copies past the registers, two steps ahead, to a ring of three.
// Gains   The warps multiply while the next steps come; one barrier a step instead of two.
// Costs   A lane's sums are pairs of columns, 8 apart: each store of a warp touches 8 rows and half
//         a sector of each.
#pragma once
#include "bench/ladder/linear_gelu_pipeline.cuh"

namespace hh::ladder {

static __global__ void __launch_bounds__(warps::kThreads)
    linear_gelu_pipeline_kernel(const LinearGelu p, int across) {
  extern __shared__ uint4 memory[];
  const TilePlace<warps::kTile, warps::kTile> tile(across);
  warps::Sums sums = {};
  warps::pipelined_sums(
      p, tile, gpu::shared_address(memory), [](int line) { return line; }, sums);
  warps::finish_pairs(p, tile, sums);
}

inline void linear_gelu_pipeline(const LinearGelu& p, StreamHandle stream) {
  launch_tiles<warps::kTile, warps::kTile>(linear_gelu_pipeline_kernel, warps::kThreads,
                                           warps::kPipelineBytes, p, stream);
}

}  // namespace hh::ladder
