// SPDX-License-Identifier: Apache-2.0
// What every fuzz target has: its input, and that only the documented errors may come out.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string_view>

#include "data/images/decode.h"

/// The rest of the process is libFuzzer's: it calls this with every input.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace hh::fuzz {

inline std::string_view text(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Fails loudly, and libFuzzer keeps the input.
inline void require(bool condition) {
  if (!condition) __builtin_trap();
}

/// Looks at each pixel, so that one that was never written shows in valgrind or MemorySanitizer;
/// ASan sees reads past the end.
inline void require_whole(const data::Image& image) {
  require(image.height >= 1 && image.width >= 1);
  require(image.pixels.size() == std::size_t(image.height) * image.row_bytes());
  std::uint32_t sum = 0;
  for (const std::uint8_t v : image.pixels) sum += v;
  require(sum <= 255 * image.pixels.size());
}

/// Decodes with every combination of options; a picture that comes out must be whole.
inline int decode(std::span<const std::uint8_t> bytes) {
  for (const bool other : {false, true}) {
    data::DecodeOptions options;
    options.channels = other ? 1 : 3;
    options.exif_orientation = other;
    options.scaled_shorter_side = other ? 8 : 0;
    options.max_pixels = 1 << 16;  // for speed
    try {
      const data::Image image = data::decode_image(bytes, options);
      require(image.channels == options.channels);
      require_whole(image);
    } catch (const data::ImageError&) {
    }
  }
  return 0;
}

}  // namespace hh::fuzz
