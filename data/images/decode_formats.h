// SPDX-License-Identifier: Apache-2.0
// The decoders behind decode.h, by format. Each checks sizes against the options before it
// allocates, throws ImageError, and returns the channels that the file has (1 or 3).
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "data/images/decode.h"

namespace hh::data {

bool is_jpeg(std::span<const std::uint8_t> bytes);
Image decode_jpeg(std::span<const std::uint8_t> bytes, const DecodeOptions& options);

int jpeg_library_version();

bool is_png(std::span<const std::uint8_t> bytes);
Image decode_png(std::span<const std::uint8_t> bytes, const DecodeOptions& options);

bool is_webp(std::span<const std::uint8_t> bytes);
Image decode_webp(std::span<const std::uint8_t> bytes, const DecodeOptions& options);

int webp_library_version();

bool is_gif(std::span<const std::uint8_t> bytes);
Image decode_gif(std::span<const std::uint8_t> bytes, const DecodeOptions& options);

bool is_tiff(std::span<const std::uint8_t> bytes);
Image decode_tiff(std::span<const std::uint8_t> bytes, const DecodeOptions& options);

/// HEIC and AVIF. Throws if reads_heif() is false.
bool is_heif(std::span<const std::uint8_t> bytes);
Image decode_heif(std::span<const std::uint8_t> bytes, const DecodeOptions& options);

bool is_bmp(std::span<const std::uint8_t> bytes);
Image decode_bmp(std::span<const std::uint8_t> bytes, const DecodeOptions& options);

bool is_pnm(std::span<const std::uint8_t> bytes);
Image decode_pnm(std::span<const std::uint8_t> bytes, const DecodeOptions& options);

/// Throws unless 1 <= width, height and width * height <= options.max_pixels.
void check_image_size(std::int64_t height, std::int64_t width, const DecodeOptions& options);

/// The orientation (1 to 8) in the TIFF structure of an EXIF block; 1 if there is none or the block
/// is damaged. A JPEG's block has "Exif\0\0" before that structure, a PNG's is the structure, a WebP's
/// is either.
int exif_orientation(std::span<const std::uint8_t> block);
int tiff_orientation(std::span<const std::uint8_t> tiff);
/// Turns and mirrors so that an image stored with this orientation stands upright.
void turn_upright(Image& image, int orientation);

}  // namespace hh::data
