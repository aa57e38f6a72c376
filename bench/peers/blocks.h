// SPDX-License-Identifier: Apache-2.0
// Views that hold a level's tokens in the order of the image and in that of the blocks.
#pragma once
#include "bench/peers/composition.h"
#include "kernels/blockify/blockify_layer_norm.h"

namespace hh::bench {

/// The same four axes in both orders: an image's row of blocks, a block in it, a line, the line's
/// tokens.
struct BlockViews {
  explicit BlockViews(const BlockGrid& s)
      : blocks(s.grid),
        lines(s.side),
        line(std::int64_t{s.side} * s.channels),
        dim{std::int64_t{s.images} * s.grid, blocks, lines, line},
        rows{s.tokens(), s.channels},
        all{s.images, s.positions(), s.channels},
        images{1, s.images, s.positions() * s.channels},
        one_image{1, 1, images[2]} {}

  template <class T>
  View in_image(const T* p) const {
    return strided(dense(p, {1}), dim, {lines * blocks * line, line, blocks * line, 1});
  }
  template <class T>
  View in_blocks(const T* p) const {
    return dense(p, dim);
  }

  std::int64_t blocks, lines, line;
  Extents dim, rows, all, images, one_image;
};

}  // namespace hh::bench
