// SPDX-License-Identifier: Apache-2.0
// Pixels in a caller's memory to codes: what other programs have in hand.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "data/images/image.h"
#include "pipeline/encoder.h"
#include "pipeline/model_file.h"

namespace hh::pipeline {

/// An 8-bit image in memory of others. Strides are in bytes, and may be negative (a flipped view).
struct PixelView {
  const std::uint8_t* pixels = nullptr;  // of row 0, column 0, channel 0
  int height = 0, width = 0;             // >= 1
  int channels = 0;                      // 1 (grey) or 3 (RGB)
  std::int64_t row_stride = 0, pixel_stride = 0, channel_stride = 0;
};

/// What encode_pixels() did with the caller's memory.
struct PixelCopies {
  std::int64_t copied = 0;    // images that were copied, to be transformed
  std::int64_t in_place = 0;  // images that the network read where they lie
};

/// The real-valued codes of `images`, [images, bits], through the model's transform. Images that
/// are what the transform would give, one behind the other in memory, aren't copied on the CPU.
/// Throws std::invalid_argument for an image that can't be taken, data::ImageError for one that is
/// too thin to be resized.
PixelCopies encode_pixels(const Model& model, std::span<const PixelView> images,
                          const EncoderOptions& options, std::span<float> outputs);

/// What the network sees of `images`: `pixels`, uint8 [images, S, S, C], by the model's transform.
/// Throws as encode_pixels().
void transform_pixels(const Model& model, std::span<const PixelView> images,
                      std::span<std::uint8_t> pixels);

/// The codes of one decoded image, [bits], in the calling thread.
std::vector<float> encode_image(const Model& model, const data::Image& image);

}  // namespace hh::pipeline
