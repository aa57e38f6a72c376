// SPDX-License-Identifier: Apache-2.0
// A decoded image: 8 bits a channel, rows from the top, channels interleaved (HWC), no padding.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace hh::data {

struct Image {
  int height = 0;
  int width = 0;
  int channels = 0;  // 1 (grey) or 3 (RGB)
  std::vector<std::uint8_t> pixels;

  std::size_t row_bytes() const { return std::size_t(width) * std::size_t(channels); }

  /// Sets the sizes and makes room; what the pixels hold is left open.
  void reshape(int height_in, int width_in, int channels_in) {
    height = height_in;
    width = width_in;
    channels = channels_in;
    pixels.resize(std::size_t(height) * row_bytes());
  }
};

/// Grey to RGB by repetition; RGB to grey as PIL's convert('L'): (19595 R + 38470 G + 7471 B +
/// 32768) >> 16. No change when the image has that many channels already.
void convert_channels(Image& image, int channels);

}  // namespace hh::data
