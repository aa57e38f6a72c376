// SPDX-License-Identifier: Apache-2.0
// PBM, PGM and PPM, plain (P1 to P3) and raw (P4 to P6), of any maximum. Our own, because Debian
// has no library of it but netpbm's, which exits on errors.
#include <array>
#include <cmath>
#include <string>

#include "data/images/decode_formats.h"
#include "engine/text/counted.h"

namespace hh::data {
namespace {

/// Numbers in decimal, with white space and #-comments before them.
class PnmText {
 public:
  explicit PnmText(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  std::int64_t number() {
    skip_space();
    constexpr std::int64_t kMax = 100'000'000;
    std::int64_t value = 0;
    const std::size_t begin = at_;
    for (; at_ < bytes_.size() && bytes_[at_] >= '0' && bytes_[at_] <= '9'; ++at_) {
      value = 10 * value + (bytes_[at_] - '0');
      if (value > kMax) throw ImageError("PNM: a number of it is over the limit of 100 million");
    }
    if (at_ == begin) throw ImageError("PNM: it holds something that isn't a number");
    return value;
  }

  /// A digit of a plain bitmap, which needs no white space beside it.
  bool bit() {
    skip_space();
    const std::uint8_t c = next();
    if (c != '0' && c != '1') throw ImageError("PNM: a bitmap holds something that isn't 0 or 1");
    ++at_;
    return c == '1';
  }

  /// What follows the one white-space character after the last number.
  std::span<const std::uint8_t> samples() {
    if (!is_space()) throw ImageError("PNM: its header doesn't end in white space");
    return bytes_.subspan(at_ + 1);
  }
  std::size_t left() const { return bytes_.size() - at_; }

 private:
  std::uint8_t next() const {
    if (at_ >= bytes_.size()) throw ImageError("PNM: it is truncated");
    return bytes_[at_];
  }
  bool is_space() const {
    const std::uint8_t c = next();
    return c == ' ' || (c >= '\t' && c <= '\r');
  }
  void skip_space() {
    while (is_space() || next() == '#') {
      if (next() == '#') {
        while (next() != '\n') ++at_;
      }
      ++at_;
    }
  }

  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 2;
};

/// A sample of 0 to `maximum` as 0 to 255, rounded as Pillow does; of 16 bits the upper byte.
class Scale {
 public:
  explicit Scale(std::int64_t maximum) : maximum_(maximum) {}
  std::uint8_t operator()(std::int64_t sample) const {
    if (maximum_ == 255) return std::uint8_t(sample);
    if (maximum_ == 65535) return std::uint8_t(sample >> 8);
    return std::uint8_t(
        std::nearbyint(double(std::min(sample, maximum_)) / double(maximum_) * 255));
  }

 private:
  std::int64_t maximum_;
};

void check_length(std::size_t have, std::size_t need) {
  if (have >= need) return;
  throw ImageError("PNM: it is truncated: " + std::to_string(have) + " of " + std::to_string(need) +
                   " bytes");
}

void read_bitmap(PnmText& text, bool plain, Image& image) {
  const std::size_t row = (std::size_t(image.width) + 7) / 8;
  if (plain) {
    for (std::uint8_t& pixel : image.pixels) pixel = text.bit() ? 0 : 255;
    return;
  }
  const auto samples = text.samples();
  check_length(samples.size(), row * std::size_t(image.height));
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    const std::size_t x = i % std::size_t(image.width), y = i / std::size_t(image.width);
    const bool black = (samples[y * row + x / 8] >> (7 - x % 8) & 1) != 0;
    image.pixels[i] = black ? 0 : 255;
  }
}

void read_samples(PnmText& text, bool plain, std::int64_t maximum, Image& image) {
  const Scale scale(maximum);
  if (plain) {
    for (std::uint8_t& pixel : image.pixels) {
      const std::int64_t sample = text.number();
      if (sample > maximum) {
        throw ImageError("PNM: a sample is " + std::to_string(sample) + ", over its maximum of " +
                         std::to_string(maximum));
      }
      pixel = scale(sample);
    }
    return;
  }
  const auto samples = text.samples();
  const std::size_t each = maximum < 256 ? 1 : 2;  // two: the upper one first
  check_length(samples.size(), image.pixels.size() * each);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    const std::int64_t sample = each == 1 ? samples[i] : samples[2 * i] << 8 | samples[2 * i + 1];
    image.pixels[i] = scale(sample);
  }
}

}  // namespace

bool is_pnm(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= 2 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6';
}

Image decode_pnm(std::span<const std::uint8_t> bytes, const DecodeOptions& options) {
  const int kind = bytes[1] - '0';
  const bool plain = kind <= 3, bitmap = kind == 1 || kind == 4;
  PnmText text(bytes);
  const std::int64_t width = text.number(), height = text.number();
  const std::int64_t maximum = bitmap ? 1 : text.number();
  check_image_size(height, width, options);
  if (maximum < 1 || maximum > 65535) {
    throw ImageError("PNM: its maximum is " + std::to_string(maximum) +
                     "; 1 to 65535 are possible");
  }
  const int channels = kind == 3 || kind == 6 ? 3 : 1;
  // What claims to hold more samples than bits are left must not get memory.
  if (width * height * channels / 8 > std::int64_t(text.left())) {
    throw ImageError("PNM: it is truncated: " + counted(text.left(), "byte") + " can't hold " +
                     std::to_string(width) + " x " + std::to_string(height) + " pixels");
  }
  Image image;
  image.reshape(int(height), int(width), channels);
  bitmap ? read_bitmap(text, plain, image) : read_samples(text, plain, maximum, image);
  return image;
}

}  // namespace hh::data
