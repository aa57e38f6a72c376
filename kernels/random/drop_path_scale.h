// Drop-path scales of one training step for all residual branches (stochastic depth per image):
//
//   scale[r, b] = 0 with probability rate[r], else 1 / (1 - rate[r])
//
// Row r is one branch of one layer. The draw for (r, b) is number b of the Philox stream
// (seed, kDropPath, r) advanced by step * 2^32, so it doesn't depend on device, threads or batch
// size. Source: spec section 3, "drop path".
#pragma once
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/philox.h"

namespace hh {

struct DropPathScale {
  const float* rate = nullptr;  // [rows] in, host memory, each in [0, 1)
  float* scale = nullptr;       // [rows, images] out
  int rows = 0;
  int images = 0;
  std::uint64_t seed = 0;
  std::uint64_t step = 0;

  void validate() const;
};

namespace cpu {
void drop_path_scale(const DropPathScale& p);
}  // namespace cpu

}  // namespace hh
