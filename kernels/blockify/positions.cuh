// SPDX-License-Identifier: Apache-2.0
// How the kernels between image order and block order share out their work: by positions (t, n) of
// an image, so that a thread finds its place in image order once and then goes through the images.
#pragma once
#include <algorithm>

#include "kernels/blockify/blockify_layer_norm.h"
#include "kernels/core/row_groups.cuh"

namespace hh::gpu {

/// Where the token at position (t, n) of block order lies among those of its image.
__device__ inline std::int64_t place_in_image(const BlockGrid& s, std::int64_t position) {
  const std::int64_t tokens = std::int64_t{s.side} * s.side;
  const std::int64_t t = position / tokens, n = position % tokens;
  const std::int64_t i = t / s.grid * s.side + n / s.side, j = t % s.grid * s.side + n % s.side;
  return i * s.grid * s.side + j;
}

}  // namespace hh::gpu
