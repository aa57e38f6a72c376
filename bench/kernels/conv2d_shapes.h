// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <vector>

#include "bench/support/harness.h"
#include "kernels/conv/conv2d.h"

namespace hh::bench {

/// Images, side, channels, kernel: the merges and the hash layer of the micro preset at batch 64 and
/// of the paper's at batch 2.
inline std::vector<Conv2dShape> conv2d_shapes() {
  std::vector<Conv2dShape> all;
  const auto listed = shapes<6>("BSCOYX",
                                {{64, 16, 32, 64, 3, 3},
                                 {64, 8, 64, 128, 3, 3},
                                 {64, 4, 128, 128, 1, 3},
                                 {64, 4, 128, 128, 3, 1}},
                                {{2, 56, 128, 256, 3, 3},
                                 {2, 28, 256, 512, 3, 3},
                                 {2, 14, 512, 512, 1, 3},
                                 {2, 14, 512, 512, 3, 1}});
  for (const auto [b, side, in, out, kh, kw] : listed) {
    all.push_back({.images = b,
                   .height = side,
                   .width = side,
                   .in_channels = in,
                   .out_channels = out,
                   .kernel_h = kh,
                   .kernel_w = kw});
  }
  return all;
}

}  // namespace hh::bench
