// SPDX-License-Identifier: Apache-2.0
#include "data/images/image.h"

#include "kernels/core/check.h"

namespace hh::data {

void convert_channels(Image& image, int channels) {
  HH_PRECONDITION(channels == 1 || channels == 3, "convert_channels: channels = " << channels);
  if (image.channels == channels) return;
  HH_PRECONDITION(image.channels == 1 || image.channels == 3,
                  "convert_channels: an image of " << image.channels << " channels");
  const std::size_t pixels = std::size_t(image.height) * std::size_t(image.width);
  if (channels == 3) {
    image.pixels.resize(3 * pixels);
    std::uint8_t* p = image.pixels.data();
    // From the end, so that no grey value is overwritten before it is read.
    for (std::size_t i = pixels; i-- > 0;) p[3 * i] = p[3 * i + 1] = p[3 * i + 2] = p[i];
  } else {
    std::uint8_t* p = image.pixels.data();
    for (std::size_t i = 0; i < pixels; ++i) {
      const std::uint32_t r = p[3 * i], g = p[3 * i + 1], b = p[3 * i + 2];
      p[i] = std::uint8_t((19595 * r + 38470 * g + 7471 * b + 32768) >> 16);
    }
    image.pixels.resize(pixels);
  }
  image.channels = channels;
}

}  // namespace hh::data
