// SPDX-License-Identifier: Apache-2.0
// Idea    Tensor cores multiply: 16 x 8 outputs by 16 elements an instruction, whose operands a warp
//         loads from shared memory, 4 bytes a lane, as the instruction wants them.
// Gains   An instruction for 2,048 multiplications. x and w stay bf16 in shared memory, half of
//         rung 3's bytes.
// Costs   48 loads from shared memory for 32 products: a warp's loads and the products compete for
//         the time in which instructions are issued.
#pragma once
#include "bench/ladder/linear_gelu_warps.cuh"

namespace hh::ladder {

struct WordOperands {
  __device__ WordOperands(unsigned x, unsigned w) {
    const warps::Warp warp;
    const int in_line = warp.lane / 4 * warps::kPitch + warp.lane % 4 * 2;
    x_ = x + 2 * (warp.row * warps::kPitch + in_line);
    w_ = w + 2 * (warp.col * warps::kPitch + in_line);
  }
  __device__ void left(int part, int i, unsigned (&a)[4]) const {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      gpu::load<4>(&a[k], x_ + 2 * ((i * 16 + k % 2 * 8) * warps::kPitch + part * 16 + k / 2 * 8));
    }
  }
  __device__ void right(int part, int j, unsigned (&b)[4]) const {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      gpu::load<4>(&b[k], w_ + 2 * ((j * 16 + k / 2 * 8) * warps::kPitch + part * 16 + k % 2 * 8));
    }
  }

 private:
  unsigned x_, w_;
};

static __global__ void __launch_bounds__(warps::kThreads)
    linear_gelu_tensor_cores_kernel(const LinearGelu p, int across) {
  warps::one_step_at_a_time<WordOperands>(p, across);
}

inline void linear_gelu_tensor_cores(const LinearGelu& p, StreamHandle stream) {
  launch_tiles<warps::kTile, warps::kTile>(linear_gelu_tensor_cores_kernel, warps::kThreads, 0, p,
                                           stream);
}

}  // namespace hh::ladder
