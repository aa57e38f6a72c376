// SPDX-License-Identifier: Apache-2.0
// How the CPU shares out a convolution to threads: pieces of whole images, or of rows of one image.
// Private to conv2d_cpu.cpp.
#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/conv/conv2d.h"
#include "kernels/gemm/pieces.h"

namespace hh::cpu {

/// Images [image, image + images), of each the rows [row, row + rows). Of the array at the other end
/// of the taps it needs `other_rows` from `other_row` on.
struct ConvPiece {
  std::int64_t image, images, row, rows, other_row, other_rows;
};

/// Equal pieces, but for the last of the images and of an image's rows. They depend on the shape and
/// num_threads() alone.
class ConvPieces {
 public:
  /// `wanted`: at most about so many pieces.
  ConvPieces(const Conv2dShape& s, std::int64_t wanted) : shape_(s) {
    // Of the ways to cut, the one with the least work for the busiest thread; of equal ones that
    // with the fewest pieces.
    std::int64_t least = -1;
    const auto see = [&](std::int64_t images, std::int64_t rows) {
      const std::int64_t count = parts_of(s.images, images) * parts_of(s.height, rows);
      const std::int64_t work = parts_of(count, num_threads()) * images * rows;
      if (least >= 0 && work >= least) return;
      least = work;
      images_of_piece_ = images;
      rows_of_piece_ = rows;
    };
    // Rows are convolved with kernel_h - 1 neighbours, so not in slices thinner than that.
    const std::int64_t bands =
        std::min<std::int64_t>(wanted / s.images, s.height / std::max(s.kernel_h, 2));
    for (std::int64_t i = std::max<std::int64_t>(2, (bands + 1) / 2); i <= bands; ++i) {
      see(1, parts_of(s.height, i));
    }
    if (bands > 1) return;
    const std::int64_t some = parts_of(s.images, wanted);
    for (std::int64_t i = some; i >= (some + 1) / 2; --i) see(i, s.height);
  }

  std::int64_t count() const { return parts_of(shape_.images, images_of_piece_) * bands(); }

  ConvPiece operator[](std::int64_t i) const {
    const std::int64_t image = i / bands() * images_of_piece_, row = i % bands() * rows_of_piece_;
    const std::int64_t rows = std::min<std::int64_t>(rows_of_piece_, shape_.height - row);
    const std::int64_t reach = (shape_.kernel_h - 1) / 2;
    const std::int64_t begin = std::max<std::int64_t>(0, row - reach);
    const std::int64_t end = std::min<std::int64_t>(shape_.height, row + rows + reach);
    return {image, std::min<std::int64_t>(images_of_piece_, shape_.images - image),
            row,   rows,
            begin, end - begin};
  }

 private:
  std::int64_t bands() const { return parts_of(shape_.height, rows_of_piece_); }

  Conv2dShape shape_;
  std::int64_t images_of_piece_ = 1, rows_of_piece_ = 1;
};

/// How many pieces are worth having. `weight_copies`: each writes weights of its own, which are added
/// up in the end.
inline std::int64_t conv_pieces_wanted(const Conv2dShape& s, bool weight_copies) {
  // Writing and adding up a weight takes as long as so many multiplications, of which it may cost a
  // tenth: 10 x 100 for each pixel.
  constexpr std::int64_t kPixelsOfCopy = 1000;
  std::int64_t most = most_pieces();
  if (weight_copies) {
    most = std::clamp(s.pixels() / kPixelsOfCopy, std::int64_t{num_threads()}, most);
  }
  return pieces_worth(double(s.pixels()) * double(s.weights()), most);
}

}  // namespace hh::cpu
