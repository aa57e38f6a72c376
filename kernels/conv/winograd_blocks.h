// SPDX-License-Identifier: Apache-2.0
// How a convolution by winograd.cpp is cut into blocks. Private to it.
#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/conv/conv2d.h"
#include "kernels/core/parallel.h"
#include "kernels/gemm/pieces.h"
#include "kernels/gemm/wide_product_blocks.h"

namespace hh::cpu {

/// 2 x 2 outputs of an image from `row`, `column` on.
struct WinogradTile {
  std::int64_t image, row, column;
};

/// All images' tiles, in blocks of `height`.
struct WinogradBlocks {
  WinogradBlocks(const Conv2dShape& s, std::int64_t lanes, std::int64_t vectors)
      : down(parts_of(s.height, 2)),
        across(parts_of(s.width, 2)),
        tiles(s.images * down * across),
        panels(s.out_channels, lanes, vectors) {
    // Half a MiB of inputs; whole blocks of 8 rows of the product.
    constexpr std::int64_t kFloats = 1 << 17, kStep = 8, kMost = 96;
    const std::int64_t most =
        std::clamp(kFloats / (16 * s.in_channels) / kStep * kStep, 2 * kStep, kMost);
    // The height with the least work for the busiest thread; of equal ones the largest.
    const std::int64_t threads = num_threads();
    std::int64_t least = -1;
    for (std::int64_t h = most; h >= 2 * kStep; h -= kStep) {
      const std::int64_t full = tiles / h;
      const std::int64_t work =
          std::max(parts_of(full, threads) * h, full / threads * h + tiles % h);
      if (least >= 0 && work >= least) continue;
      least = work;
      height = h;
    }
    // Of each matrix one line more: at a multiple of 4 KiB all would share a set of the cache.
    constexpr std::int64_t kLine = 16;
    inputs_apart = height * s.in_channels + kLine;
    sums_apart = height * lanes * vectors + kLine;
    weights_apart = std::int64_t{s.in_channels} * s.out_channels + kLine;
  }
  std::int64_t count() const { return parts_of(tiles, height); }
  WinogradTile tile(std::int64_t i) const {
    const std::int64_t of_image = i % (down * across);
    return {i / (down * across), of_image / across * 2, of_image % across * 2};
  }

  std::int64_t down, across, tiles;  // of an image; of all
  Panels panels;                     // of the outputs
  std::int64_t height = 0;
  std::int64_t inputs_apart, sums_apart, weights_apart;  // of the 16 matrices, in floats
};

}  // namespace hh::cpu
