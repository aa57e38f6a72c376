// SPDX-License-Identifier: Apache-2.0
#include "data/images/decode.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>

#include "data/images/decode_formats.h"
#include "engine/files/file.h"
#include "engine/files/file_error.h"
#include "engine/files/file_kind.h"
#include "kernels/core/check.h"

namespace hh::data {
namespace {
struct Format {
  bool (*is)(std::span<const std::uint8_t>);
  Image (*decode)(std::span<const std::uint8_t>, const DecodeOptions&);
};
constexpr Format kFormats[] = {
    {is_jpeg, decode_jpeg}, {is_png, decode_png}, {is_webp, decode_webp}, {is_gif, decode_gif},
    {is_tiff, decode_tiff}, {is_bmp, decode_bmp}, {is_pnm, decode_pnm},   {is_heif, decode_heif}};

[[noreturn]] void refuse(std::span<const std::uint8_t> bytes) {
  if (bytes.empty()) throw ImageError("it is empty");
  const std::string kind = kind_of_file(std::as_bytes(bytes)).name;
  throw ImageError(kind.empty()
                       ? "it is no JPEG, PNG, WebP, GIF, TIFF, BMP, PNM, HEIC or AVIF "
                         "image: convert it to one of them"
                       : "it is " + kind + ", which isn't read: convert it to JPEG or PNG");
}

}  // namespace

void check_image_size(std::int64_t height, std::int64_t width, const DecodeOptions& options) {
  // Division, because the product of two header fields can overflow.
  if (height >= 1 && width >= 1 && height <= options.max_pixels / width) return;
  std::ostringstream what;
  what << "its header says " << width << " x " << height << " pixels";
  if (height < 1 || width < 1) throw ImageError(what.str() + ": it holds no picture");
  const double millions = double(height) * double(width) / 1e6;
  what << ", and the limit is " << double(options.max_pixels) / 1e6 << " million";
  if (millions <= kMostMegapixels) {
    what << ": raise it by --max-pixels " << std::ceil(millions)
         << " (in training: --set data.max_pixels=" << std::ceil(millions) << ")";
  }
  throw ImageError(what.str());
}

bool is_image(std::span<const std::uint8_t> bytes) {
  return std::any_of(std::begin(kFormats), std::end(kFormats),
                     [&](const Format& format) { return format.is(bytes); });
}

std::string decoder_versions() {
  return "libjpeg-turbo " + std::to_string(jpeg_library_version()) + ", libwebp " +
         std::to_string(webp_library_version()) + (reads_heif() ? ", libheif" : "");
}

Image decode_image(std::span<const std::uint8_t> bytes, const DecodeOptions& options) {
  HH_REQUIRE(options.channels == 1 || options.channels == 3,
             "images of " << options.channels << " channels: use 1 or 3");
  const auto* const format = std::find_if(std::begin(kFormats), std::end(kFormats),
                                          [&](const Format& f) { return f.is(bytes); });
  if (format == std::end(kFormats)) refuse(bytes);
  Image image = format->decode(bytes, options);
  convert_channels(image, options.channels);
  return image;
}

Image load_image(const std::filesystem::path& path, const DecodeOptions& options) {
  std::vector<std::uint8_t> bytes;
  try {
    bytes = read_file(path, kMaxImageFileBytes);
  } catch (const TryAgain&) {
    throw;
  } catch (const std::runtime_error& e) {
    throw ImageError(e.what());
  }
  try {
    return decode_image(bytes, options);
  } catch (const ImageError& e) {
    throw ImageError(path.string() + ": " + e.what());
  }
}

}  // namespace hh::data
