// SPDX-License-Identifier: Apache-2.0
#include "data/images/transform.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "data/images/decode.h"
#include "kernels/core/check.h"
#include "kernels/core/philox.h"

namespace hh::data {
namespace {

// A strip so thin that its longer side would pass the second has no picture left in an S x S crop;
// the first bounds the memory of the filter's coefficients, which grows with the side.
constexpr std::int64_t kMaxSide = 1 << 20, kMaxResizedSide = 1 << 24;

/// torchvision's centre crop: rounds (h - S) / 2, halves to even; an image smaller than S gets
/// (S - h) / 2 zeros, rounded down, before it.
int centre_corner(int side, int size) {
  if (side < size) return -((size - side) / 2);
  const int difference = side - size, half = difference / 2;
  return difference % 2 == 0 ? half : half + half % 2;
}

int corner(const TransformSpec& spec, int side, std::uint32_t random) {
  const auto below = [&](std::int64_t n) {
    return int((std::uint64_t{random} * std::uint64_t(n)) >> 32);
  };
  switch (spec.crop) {
    case Crop::kAnywhere:
      return side > spec.size ? below(side - spec.size + 1) : centre_corner(side, spec.size);
    case Crop::kNearCentre:
      return centre_corner(side, spec.size) + below(2 * spec.max_shift + 1) - spec.max_shift;
    case Crop::kCentre:
      break;
  }
  return centre_corner(side, spec.size);
}

void flip(std::uint8_t* pixels, int size, int channels) {
  for (int y = 0; y < size; ++y) {
    std::uint8_t* left = pixels + std::size_t(y) * std::size_t(size * channels);
    std::uint8_t* right = left + (size - 1) * channels;
    for (; left < right; left += channels, right -= channels) {
      std::swap_ranges(left, left + channels, right);
    }
  }
}

struct Size {
  std::int64_t height = 0, width = 0;
};

/// What the resize makes of an image.
Size resized(const TransformSpec& spec, std::int64_t height, std::int64_t width) {
  if (spec.resize == Resize::kNone) return {height, width};
  const std::int64_t to = spec.resize_to;
  if (spec.resize == Resize::kExact) return {to, to};
  // torchvision's int(size * long / short): an integer product, a float64 quotient.
  const auto longer = [&](std::int64_t long_side, std::int64_t short_side) {
    return std::int64_t(double(to * long_side) / double(short_side));
  };
  if (height <= width) return {to, longer(width, height)};
  return {longer(height, width), to};
}

bool too_thin(const Image& image, const Size& size) {
  return std::max(image.height, image.width) > kMaxSide ||
         std::max(size.height, size.width) > kMaxResizedSide;
}

/// The reference resizes to 256 for a crop of 224; other crops keep that proportion.
int resize_for(int size) { return (size * 8 + 3) / 7; }

}  // namespace

void TransformSpec::validate() const {
  HH_REQUIRE(size >= 1 && size <= 4096, "transform: size = " << size << ": use 1 to 4096");
  HH_REQUIRE(channels == 1 || channels == 3,
             "transform: channels = " << channels << ": use 1 or 3");
  HH_REQUIRE(resize == Resize::kNone || (resize_to >= 1 && resize_to <= 8192),
             "transform: resize_to = " << resize_to << ": use 1 to 8192");
  HH_REQUIRE(max_shift >= 0 && max_shift <= size,
             "transform: max_shift = " << max_shift << ": use 0 to the size, " << size);
  HH_REQUIRE(flip_probability >= 0 && flip_probability <= 1,
             "transform: flip_probability = " << flip_probability << ": use 0 to 1");
  for (int c = 0; c < channels; ++c) {
    HH_REQUIRE(std::isfinite(mean[std::size_t(c)]) && std[std::size_t(c)] > 0 &&
                   std::isfinite(std[std::size_t(c)]),
               "transform: channel " << c << " has mean " << mean[std::size_t(c)] << " and std "
                                     << std[std::size_t(c)] << ": use finite numbers, std above 0");
  }
}

TransformSpec image_eval_transform(int size, int channels) {
  TransformSpec spec;
  spec.size = size;
  spec.channels = channels;
  spec.resize = Resize::kShorterSide;
  spec.resize_to = resize_for(size);
  return spec;
}

TransformSpec image_train_transform(int size, int channels) {
  TransformSpec spec = image_eval_transform(size, channels);
  spec.crop = Crop::kAnywhere;
  spec.flip_probability = 0.5f;
  return spec;
}

void resize_if_smaller(const TransformSpec& spec, Image& image) {
  const Size to = resized(spec, image.height, image.width);
  // One that the transform refuses is left for it to refuse. A picture of the wanted size is resized to
  // itself, so a transform that resizes it again changes nothing.
  if (too_thin(image, to) || to.height * to.width >= std::int64_t{image.height} * image.width) {
    return;
  }
  image = resize_bilinear(image, int(to.height), int(to.width));
}

Transformer::Transformer(const TransformSpec& spec) : spec_(spec) { spec_.validate(); }

void Transformer::run(Image& image, const DrawKey& key, std::uint8_t* out) {
  convert_channels(image, spec_.channels);
  HH_REQUIRE(image.height >= 1 && image.width >= 1,
             "transform: an image of " << image.height << " x " << image.width);
  const Size to = resized(spec_, image.height, image.width);
  if (too_thin(image, to)) {
    throw ImageError("an image of " + std::to_string(image.width) + " x " +
                     std::to_string(image.height) +
                     " is too thin to be resized: cut it to a shape that is nearer to a square");
  }

  Philox::Block random = {};
  if (!spec_.fixed()) {
    random = Philox(key.seed, RandomPurpose::kAugmentation, key.epoch).block(key.index);
  }
  const int size = spec_.size;
  const int top = corner(spec_, int(to.height), random.v[1]);
  const int left = corner(spec_, int(to.width), random.v[2]);

  const int first_row = std::max(top, 0), first_column = std::max(left, 0);
  const Window window = {.top = first_row,
                         .left = first_column,
                         .height = std::min(top + size, int(to.height)) - first_row,
                         .width = std::min(left + size, int(to.width)) - first_column};
  const std::size_t stride = std::size_t(size) * std::size_t(spec_.channels);
  if (window.height < size || window.width < size) std::memset(out, 0, stride * std::size_t(size));
  if (window.height > 0 && window.width > 0) {
    resizer_.run(image, int(to.height), int(to.width), window,
                 out + std::size_t(first_row - top) * stride +
                     std::size_t(first_column - left) * std::size_t(spec_.channels),
                 stride);
  }
  if (float(random.v[0] >> 8) * 0x1p-24f < spec_.flip_probability) {
    flip(out, size, spec_.channels);
  }
}

std::vector<float> normalise(const std::uint8_t* pixels, const TransformSpec& spec) {
  const auto channels = std::size_t(spec.channels);
  const std::size_t plane = std::size_t(spec.size) * std::size_t(spec.size);
  std::vector<float> out(channels * plane);
  for (std::size_t c = 0; c < channels; ++c) {
    for (std::size_t i = 0; i < plane; ++i) {
      const float value = float(pixels[i * channels + c]) / 255.0f;
      out[c * plane + i] = (value - spec.mean[c]) / spec.std[c];
    }
  }
  return out;
}

}  // namespace hh::data
