// SPDX-License-Identifier: Apache-2.0
// Image files to pixels: JPEG by libjpeg-turbo, PNG by libpng, WebP by libwebp, GIF by giflib, TIFF
// by libtiff, HEIC and AVIF by libheif where it is installed, BMP and PNM by code of ours. Of several
// pictures in a file it is the first. The result is what PIL's Image.open(f).convert('RGB') or
// convert('L') gives: alpha is dropped (not blended), palettes are looked up, CMYK follows PIL's
// formula (a TIFF's to within 1); of 16-bit samples the upper byte is taken. A palette's index past
// its end is black.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>

#include "data/images/image.h"

namespace hh::data {

/// A file that can't be read or decoded. what() says which (if known) and why.
struct ImageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Millions of pixels of the largest image that is read, unless told otherwise, and at most.
inline constexpr int kDefaultMegapixels = 67, kMostMegapixels = 1000;

/// Of an image's file.
inline constexpr std::size_t kMaxImageFileBytes = std::size_t{512} << 20;

struct DecodeOptions {
  int channels = 3;  // of the result: 1 or 3
  /// Turn the image as its EXIF orientation says (JPEG, PNG, WebP, TIFF). PIL's open() does not (but
  /// for TIFF), nor the reference. HEIC and AVIF are always turned.
  bool exif_orientation = false;
  /// JPEG only: decode at 1/2, 1/4 or 1/8 while the shorter side stays at least this; much faster
  /// for large photographs, but not the pixels that PIL's pipeline sees. 0: full size.
  int scaled_shorter_side = 0;
  /// Checked against the header, before the pixels get memory.
  std::int64_t max_pixels = kDefaultMegapixels * std::int64_t{1'000'000};
};

/// Throws ImageError for an unknown format, a truncated or corrupt file, or one over the limit.
/// Recoverable damage that PIL accepts too (stray bytes between JPEG segments) is no error.
Image decode_image(std::span<const std::uint8_t> bytes, const DecodeOptions& options = {});

/// The same of a file; the error's text starts with the path. Throws TryAgain (file_error.h) where the
/// disk, not the image, is at fault.
Image load_image(const std::filesystem::path& path, const DecodeOptions& options = {});

/// Whether a file that begins so is of a format that is read, or would be where libheif is: by its first
/// bytes, 16 or more.
bool is_image(std::span<const std::uint8_t> bytes);

/// The libraries whose pixels may differ from one version to the next, with theirs.
std::string decoder_versions();

/// Whether HEIC and AVIF are read: libheif's header was there when this was built, and it is now.
bool reads_heif();

}  // namespace hh::data
