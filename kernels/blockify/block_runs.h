// SPDX-License-Identifier: Apache-2.0
// Where blocks are in an image. `side` tokens of a block that lie in one line of the image are
// together in both orders; they are a run. Runs are numbered in block order.
#pragma once
#include "kernels/blockify/blockify_layer_norm.h"

namespace hh::cpu {

struct BlockRuns {
  explicit BlockRuns(const BlockGrid& shape)
      : grid(shape.grid),
        side(shape.side),
        per_image(grid * grid * side),
        count(shape.images * per_image) {}

  std::int64_t grid, side;
  std::int64_t per_image;  // runs of an image
  std::int64_t count;      // runs of all images

  struct Place {
    std::int64_t image, block_row, block_column, line;
  };
  Place place(std::int64_t run) const {
    const std::int64_t block = run / side;
    return {run / per_image, block / grid % grid, block % grid, run % side};
  }
  /// The next run's place, without the divisions, which cost as much as a short run.
  void advance(Place& p) const {
    if (++p.line < side) return;
    p.line = 0;
    if (++p.block_column < grid) return;
    p.block_column = 0;
    if (++p.block_row < grid) return;
    p.block_row = 0;
    ++p.image;
  }
  /// The run's first token, counted in image order. In block order it is run * side.
  std::int64_t image_token(const Place& p) const {
    const std::int64_t line = (p.image * grid + p.block_row) * side + p.line;
    return (line * grid + p.block_column) * side;
  }
};

}  // namespace hh::cpu
