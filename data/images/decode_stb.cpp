// SPDX-License-Identifier: Apache-2.0
#include <zlib.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "data/images/decode_formats.h"

// stb inflates a PNG's data whatever the image's size, so a small file could ask for gigabytes. Its
// allocations therefore go through a limit, set for each image from its header.
namespace {
thread_local std::size_t allocation_limit = 0;
void* limited_realloc(void* old, std::size_t bytes) {
  return bytes > allocation_limit ? nullptr : std::realloc(old, bytes);
}
}  // namespace

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_NO_HDR
#define STBI_NO_LINEAR
#define STBI_MALLOC(bytes) limited_realloc(nullptr, bytes)
#define STBI_REALLOC(old, bytes) limited_realloc(old, bytes)
#define STBI_FREE(p) std::free(p)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

namespace hh::data {
namespace {

constexpr std::uint8_t kPngMagic[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

std::uint32_t little32(std::span<const std::uint8_t> bytes, std::size_t at) {
  return std::uint32_t(bytes[at]) | std::uint32_t(bytes[at + 1]) << 8 |
         std::uint32_t(bytes[at + 2]) << 16 | std::uint32_t(bytes[at + 3]) << 24;
}

std::uint32_t big32(const std::uint8_t* p) {
  return std::uint32_t(p[0]) << 24 | std::uint32_t(p[1]) << 16 | std::uint32_t(p[2]) << 8 | p[3];
}

/// What the first chunk, IHDR, says; stb checks it later.
struct PngHeader {
  std::int64_t width, height;
  int bit_depth, colour_type;
  explicit PngHeader(std::span<const std::uint8_t> bytes) {
    if (bytes.size() < 26) throw ImageError("PNG: it is truncated");
    width = big32(&bytes[16]);
    height = big32(&bytes[20]);
    bit_depth = bytes[24];
    colour_type = bytes[25];
  }
};

/// Deflate packs 1032 bytes into one at best. What claims to hold more is truncated, and must not
/// get memory.
void check_png_size(std::span<const std::uint8_t> bytes, const PngHeader& header) {
  constexpr std::int64_t kBestRatio = 1040;
  constexpr int kSamples[] = {1, 0, 3, 1, 2, 0, 4};  // by colour type; 0: there is no such
  const int samples = header.colour_type < 7 ? kSamples[header.colour_type] : 0;
  const std::int64_t row = (header.width * samples * header.bit_depth + 7) / 8 + 1;
  if (row * header.height / kBestRatio > std::int64_t(bytes.size())) {
    throw ImageError("PNG: it is truncated: " + std::to_string(bytes.size()) +
                     " bytes can't hold " + std::to_string(header.width) + " x " +
                     std::to_string(header.height) + " pixels");
  }
}

/// stb ignores the check sums, so damage would pass as a picture. A chunk is its length, type, data
/// and the CRC of type and data.
void check_png_chunks(std::span<const std::uint8_t> bytes) {
  constexpr std::size_t kAround = 12;  // of a chunk, beside its data
  for (std::size_t at = sizeof kPngMagic; bytes.size() - at >= kAround;) {
    const std::uint8_t* chunk = bytes.data() + at;
    const std::size_t length = big32(chunk);
    if (length > bytes.size() - at - kAround) break;
    if (crc32(0, chunk + 4, uInt(length + 4)) != big32(chunk + 8 + length)) {
      throw ImageError("PNG: it is damaged: a wrong check sum at byte " + std::to_string(at));
    }
    if (std::memcmp(chunk + 4, "IEND", 4) == 0) return;
    at += kAround + length;
  }
  throw ImageError("PNG: it is truncated");
}

/// stb reads zeros past the end of a BMP, so its length is checked here.
void check_bmp_length(std::span<const std::uint8_t> bytes, std::int64_t height,
                      std::int64_t width) {
  if (bytes.size() < 30) throw ImageError("BMP: it is truncated");
  const bool old = little32(bytes, 14) == 12;  // OS/2 1.x: 16-bit sizes
  const std::size_t at = old ? 24 : 28;
  const std::int64_t bits = bytes[at] | bytes[at + 1] << 8;
  const std::int64_t needed = little32(bytes, 10) + (width * bits + 31) / 32 * 4 * height;
  if (std::int64_t(bytes.size()) < needed) {
    throw ImageError("BMP: it is truncated: " + std::to_string(bytes.size()) + " of " +
                     std::to_string(needed) + " bytes");
  }
}

bool is_png(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= sizeof kPngMagic &&
         std::equal(std::begin(kPngMagic), std::end(kPngMagic), bytes.begin());
}

struct FreePixels {
  void operator()(stbi_uc* pixels) const { stbi_image_free(pixels); }
};

}  // namespace

bool is_png_or_bmp(std::span<const std::uint8_t> bytes) {
  return is_png(bytes) || (bytes.size() >= 2 && bytes[0] == 'B' && bytes[1] == 'M');
}

Image decode_png_or_bmp(std::span<const std::uint8_t> bytes, const DecodeOptions& options) {
  if (bytes.size() > INT_MAX) throw ImageError("it is over 2 GiB");
  const int length = int(bytes.size());
  const bool png = is_png(bytes);
  if (png) {  // of a size over its own limits, stb would say only that it knows no such image
    const PngHeader header(bytes);
    check_image_size(header.height, header.width, options);
    check_png_size(bytes, header);
  }
  int width = 0, height = 0, channels = 0;
  allocation_limit = std::size_t{1} << 20;
  if (!stbi_info_from_memory(bytes.data(), length, &width, &height, &channels)) {
    throw ImageError(std::string("its header can't be read: ") + stbi_failure_reason());
  }
  check_image_size(height, width, options);
  if (png) {
    check_png_chunks(bytes);
  } else {
    check_bmp_length(bytes, height, width);
  }

  // 4 channels and a filter byte a row, twice over for stb's doubling buffers; or the file's data.
  const std::size_t sample_bytes = png && stbi_is_16_bit_from_memory(bytes.data(), length) ? 2 : 1;
  const std::size_t row_bytes = std::size_t(width) * 4 * sample_bytes + 1;
  allocation_limit += 2 * std::max(row_bytes * std::size_t(height), bytes.size());
  const std::unique_ptr<stbi_uc, FreePixels> pixels(
      stbi_load_from_memory(bytes.data(), length, &width, &height, &channels, 0));
  if (!pixels) throw ImageError(std::string("it is damaged: ") + stbi_failure_reason());

  Image image;
  image.reshape(height, width, channels >= 3 ? 3 : 1);
  const auto from = std::size_t(channels), to = std::size_t(image.channels);
  const std::size_t count = std::size_t(height) * std::size_t(width);
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t c = 0; c < to; ++c) image.pixels[i * to + c] = pixels.get()[i * from + c];
  }
  return image;
}

}  // namespace hh::data
