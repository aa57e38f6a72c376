// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "data/images/decode_formats.h"

namespace hh::data {

// A TIFF file: "II*\0" or "MM\0*", the offset of a directory; there a
// 16-bit count and entries of 12 bytes: tag, type, count, value. Offsets start at the "II".
int tiff_orientation(std::span<const std::uint8_t> tiff) {
  constexpr std::uint32_t kTag = 0x0112, kShort = 3;
  if (tiff.size() < 8) return 1;
  const bool little = tiff[0] == 'I';
  if (tiff[0] != tiff[1] || (tiff[0] != 'I' && tiff[0] != 'M')) return 1;
  const auto read = [&](std::size_t at, std::size_t bytes) {
    std::uint32_t v = 0;
    for (std::size_t i = 0; i < bytes; ++i) {
      v = (v << 8) | tiff[little ? at + bytes - 1 - i : at + i];
    }
    return v;
  };
  const std::size_t directory = read(4, 4);
  if (directory > tiff.size() - 2) return 1;
  const std::size_t entries = read(directory, 2);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + 12 * i;
    if (entry + 12 > tiff.size()) return 1;
    if (read(entry, 2) != kTag || read(entry + 2, 2) != kShort) continue;
    const std::uint32_t value = read(entry + 8, 2);
    return value >= 1 && value <= 8 ? int(value) : 1;
  }
  return 1;
}

int exif_orientation(std::span<const std::uint8_t> block) {
  constexpr std::size_t kMagic = 6;
  if (block.size() < kMagic || std::memcmp(block.data(), "Exif\0\0", kMagic) != 0) return 1;
  return tiff_orientation(block.subspan(kMagic));
}

// Orientation o says where the stored row 0 and column 0 belong; 5 to 8 also swap the axes.
void turn_upright(Image& image, int orientation) {
  if (orientation <= 1 || orientation > 8) return;
  const bool swap = orientation >= 5;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 ||
                           orientation == 7;  // source row runs backwards
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 ||
                          orientation == 8;  // source column runs backwards
  Image out;
  out.reshape(swap ? image.width : image.height, swap ? image.height : image.width, image.channels);
  const auto channels = std::size_t(image.channels);
  std::uint8_t* to = out.pixels.data();
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x, to += channels) {
      const int row = swap ? x : y, column = swap ? y : x;
      const int from_row = from_bottom ? image.height - 1 - row : row;
      const int from_column = from_right ? image.width - 1 - column : column;
      std::memcpy(to,
                  &image.pixels[std::size_t(from_row) * image.row_bytes() +
                                std::size_t(from_column) * channels],
                  channels);
    }
  }
  image = std::move(out);
}

}  // namespace hh::data
