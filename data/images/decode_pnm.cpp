// SPDX-License-Identifier: Apache-2.0
// Our own, because stb_image 2.27 doesn't notice that a PNM file is truncated (it returns
// uninitialised memory), ignores the declared maximum, and takes 16-bit samples as little-endian.
#include <string>

#include "data/images/decode_formats.h"

namespace hh::data {
namespace {

/// Reads the header's numbers: decimal, with white space and #-comments before them.
class PnmHeader {
 public:
  explicit PnmHeader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  std::int64_t number() {
    while (is_space() || next() == '#') {
      if (next() == '#') {
        while (next() != '\n') ++at_;
      }
      ++at_;
    }
    constexpr std::int64_t kMax = 100'000'000;
    std::int64_t value = 0;
    const std::size_t begin = at_;
    for (; next() >= '0' && next() <= '9'; ++at_) {
      value = 10 * value + (next() - '0');
      if (value > kMax) throw ImageError("PNM: a number of its header is over 100 million");
    }
    if (at_ == begin) throw ImageError("PNM: its header holds something that isn't a number");
    return value;
  }

  /// What follows the one white-space character after the last number.
  std::span<const std::uint8_t> samples() {
    if (!is_space()) throw ImageError("PNM: its header doesn't end in white space");
    return bytes_.subspan(at_ + 1);
  }

 private:
  std::uint8_t next() const {
    if (at_ >= bytes_.size()) throw ImageError("PNM: it is truncated in its header");
    return bytes_[at_];
  }
  bool is_space() const {
    const std::uint8_t c = next();
    return c == ' ' || (c >= '\t' && c <= '\r');
  }

  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 2;
};

}  // namespace

bool is_pnm(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= 2 && bytes[0] == 'P' && (bytes[1] == '5' || bytes[1] == '6');
}

Image decode_pnm(std::span<const std::uint8_t> bytes, const DecodeOptions& options) {
  PnmHeader header(bytes);
  const std::int64_t width = header.number(), height = header.number(), maximum = header.number();
  check_image_size(height, width, options);
  if (maximum != 255 && maximum != 65535) {
    throw ImageError("PNM: its maximum is " + std::to_string(maximum) + "; 255 or 65535 is needed");
  }
  const int channels = bytes[1] == '6' ? 3 : 1;
  const auto samples = header.samples();
  const std::size_t sample_bytes = maximum == 255 ? 1 : 2;  // two: the upper one first
  const std::size_t needed =
      std::size_t(height) * std::size_t(width) * std::size_t(channels) * sample_bytes;
  if (samples.size() < needed) {
    throw ImageError("PNM: it is truncated: " + std::to_string(samples.size()) + " of " +
                     std::to_string(needed) + " bytes");
  }
  Image image;
  image.reshape(int(height), int(width), channels);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = samples[i * sample_bytes];
  return image;
}

}  // namespace hh::data
