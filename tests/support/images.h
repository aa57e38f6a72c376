// SPDX-License-Identifier: Apache-2.0
// Pictures and image files made in memory, for tests, fuzzing seeds and measurements.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/images/image.h"

namespace hh::testing {

using Bytes = std::vector<std::uint8_t>;

/// Smooth colour waves with a little noise; the same for the same arguments.
data::Image picture(int height, int width, int channels, std::uint64_t seed = 1);

struct JpegStyle {
  int quality = 90;
  bool progressive = false;
  bool halve_chroma = true;  // 4:2:0
  int orientation = 0;       // an EXIF block with it; 0: no block
};
/// 1, 3 or (taken as CMYK) 4 channels.
Bytes encode_jpeg(const data::Image& image, const JpegStyle& style = {});
/// "Exif\0\0" and a TIFF directory of one entry, in either byte order.
Bytes exif_block(int orientation, bool little_endian);

/// 1 to 4 channels (grey, grey and alpha, RGB, RGBA).
Bytes encode_png(const data::Image& image);
/// A PNG of any header: `scanlines`, filter bytes included, are compressed as they are. `palette`
/// (RGB) makes a PLTE chunk if not empty.
Bytes encode_png(int height, int width, int bit_depth, int colour_type, const Bytes& scanlines,
                 const Bytes& palette = {});

/// 1 or 3 channels: P5 or P6.
Bytes encode_pnm(const data::Image& image);
/// 24 bits, from the bottom row up. 3 channels.
Bytes encode_bmp(const data::Image& image);

Bytes gzip(const Bytes& bytes);

/// An idx file of these sizes; the values 0, 1, 2, ... modulo `modulus`.
Bytes idx_file(const std::vector<std::uint32_t>& shape, int modulus = 256);

std::string as_text(const Bytes& bytes);

}  // namespace hh::testing
