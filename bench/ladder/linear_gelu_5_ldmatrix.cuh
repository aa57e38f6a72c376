// SPDX-License-Identifier: Apache-2.0
// Idea    ldmatrix hands four 8 x 8 matrices to a warp at once, of lines that lie where rung 4's do.
// Gains   12 loads for 32 products, where rung 4 has 48.
// Costs   All warps wait while a step comes from memory, and memory while they multiply.
#pragma once
#include "bench/ladder/linear_gelu_warps.cuh"

namespace hh::ladder {

struct LineOperands {
  __device__ LineOperands(unsigned x, unsigned w) {
    const warps::Warp warp;
    const int lane = warp.lane;
    x_ = x + 2 * ((warp.row + lane % 16) * warps::kPitch + lane / 16 * 8);
    w_ = w + 2 * ((warp.col + lane / 16 * 8 + lane % 8) * warps::kPitch + lane / 8 % 2 * 8);
  }
  __device__ void left(int part, int i, unsigned (&a)[4]) const {
    gpu::load_matrices(a, x_ + 2 * (i * 16 * warps::kPitch + part * 16));
  }
  __device__ void right(int part, int j, unsigned (&b)[4]) const {
    gpu::load_matrices(b, w_ + 2 * (j * 16 * warps::kPitch + part * 16));
  }

 private:
  unsigned x_, w_;
};

static __global__ void __launch_bounds__(warps::kThreads)
    linear_gelu_ldmatrix_kernel(const LinearGelu p, int across) {
  warps::one_step_at_a_time<LineOperands>(p, across);
}

inline void linear_gelu_ldmatrix(const LinearGelu& p, StreamHandle stream) {
  launch_tiles<warps::kTile, warps::kTile>(linear_gelu_ldmatrix_kernel, warps::kThreads, 0, p,
                                           stream);
}

}  // namespace hh::ladder
