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

  /// The first token of a run, counted in image order. In block order it is run * side.
  std::int64_t image_token(std::int64_t run) const {
    const std::int64_t image = run / per_image, block = run / side % (grid * grid);
    const std::int64_t line = block / grid * side + run % side;
    return ((image * grid * side + line) * grid + block % grid) * side;
  }
};

}  // namespace hh::cpu
