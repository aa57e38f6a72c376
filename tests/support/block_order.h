// SPDX-License-Identifier: Apache-2.0
// Blocks of an image by their definition, element for element.
#pragma once
#include <vector>

#include "kernels/blockify/blockify_layer_norm.h"

namespace hh::testing {

/// For every token in block order [B, T, N], its place in image order [B, grid*s, grid*s].
inline std::vector<std::size_t> block_order(const BlockGrid& shape) {
  const int side = shape.side, width = shape.grid * side;
  std::vector<std::size_t> order(std::size_t(shape.tokens()));
  std::size_t place = 0;
  for (int b = 0; b < shape.images; ++b) {
    for (int i = 0; i < width; ++i) {
      for (int j = 0; j < width; ++j) {
        const int t = (i / side) * shape.grid + j / side, n = (i % side) * side + j % side;
        order[std::size_t((b * shape.grid * shape.grid + t) * side * side + n)] = place++;
      }
    }
  }
  return order;
}

}  // namespace hh::testing
