#include <climits>
#include <cstdlib>
#include <cstring>
#include <string>

#include "data/decode_formats.h"

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
#define STBI_ONLY_PNM
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

std::uint32_t little32(std::span<const std::uint8_t> bytes, std::size_t at) {
  return std::uint32_t(bytes[at]) | std::uint32_t(bytes[at + 1]) << 8 |
         std::uint32_t(bytes[at + 2]) << 16 | std::uint32_t(bytes[at + 3]) << 24;
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

/// stb doesn't scale samples by the maximum that a PNM header declares, so only full scale passes.
void check_pnm_maximum(std::span<const std::uint8_t> bytes) {
  std::size_t at = 2;
  long value = 0;
  for (int field = 0; field < 3; ++field) {  // width, height, maximum
    while (at < bytes.size() && (std::isspace(bytes[at]) || bytes[at] == '#')) {
      if (bytes[at] == '#') {
        while (at < bytes.size() && bytes[at] != '\n') ++at;
      } else {
        ++at;
      }
    }
    value = 0;
    while (at < bytes.size() && std::isdigit(bytes[at]) && value < 100'000'000) {
      value = 10 * value + (bytes[at++] - '0');
    }
  }
  if (value != 255 && value != 65535) {
    throw ImageError("PNM: its maximum is " + std::to_string(value) + "; 255 or 65535 is needed");
  }
}

}  // namespace

bool is_png_bmp_or_pnm(std::span<const std::uint8_t> bytes) {
  const auto starts = [&](const char* magic) {
    const std::size_t n = std::strlen(magic);
    return bytes.size() >= n && std::memcmp(bytes.data(), magic, n) == 0;
  };
  return starts("\x89PNG") || starts("BM") || starts("P5") || starts("P6");
}

Image decode_png_bmp_or_pnm(std::span<const std::uint8_t> bytes, const DecodeOptions& options) {
  if (bytes.size() > INT_MAX) throw ImageError("it is over 2 GiB");
  const int length = int(bytes.size());
  int width = 0, height = 0, channels = 0;
  if (!stbi_info_from_memory(bytes.data(), length, &width, &height, &channels)) {
    throw ImageError(std::string("its header can't be read: ") + stbi_failure_reason());
  }
  check_image_size(height, width, options);
  if (bytes[0] == 'B') check_bmp_length(bytes, height, width);
  if (bytes[0] == 'P') check_pnm_maximum(bytes);

  // At most 4 channels of 16 bits, twice over for stb's doubling buffers, and a filter byte a row.
  allocation_limit =
      std::max(std::size_t(width) * std::size_t(height) * 16 + std::size_t(height) * 64,
               2 * bytes.size()) +
      (std::size_t{1} << 20);
  stbi_uc* pixels = stbi_load_from_memory(bytes.data(), length, &width, &height, &channels, 0);
  if (pixels == nullptr) throw ImageError(std::string("it is damaged: ") + stbi_failure_reason());

  Image image;
  try {
    image.reshape(height, width, channels >= 3 ? 3 : 1);
  } catch (...) {
    stbi_image_free(pixels);
    throw;
  }
  const auto from = std::size_t(channels), to = std::size_t(image.channels);
  const std::size_t count = std::size_t(height) * std::size_t(width);
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t c = 0; c < to; ++c) image.pixels[i * to + c] = pixels[i * from + c];
  }
  stbi_image_free(pixels);
  return image;
}

}  // namespace hh::data
