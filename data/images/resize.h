// SPDX-License-Identifier: Apache-2.0
// PIL's Image.resize(size, BILINEAR) on 8-bit channels, bit for bit: a triangle filter whose
// support grows with the reduction (antialiasing), horizontal pass first, each pass rounded to 8
// bits, with coefficients in fixed point (22 bits). Source: Pillow, libImaging/Resample.c.
#pragma once
#include <cstdint>
#include <vector>

#include "data/images/image.h"

namespace hh::data {

/// A rectangle of a (resized) image, in its pixels.
struct Window {
  int top = 0;
  int left = 0;
  int height = 0;
  int width = 0;
};

/// PIL's fixed point: 32 bits less 8 of a pixel and 2 of head-room.
inline constexpr int kResizePrecisionBits = 22;

/// Keeps the coefficients of the last sizes and the scratch of the first pass, so that one object
/// per thread makes repeated calls cheap.
class Resizer {
 public:
  /// Resizes `image` to height x width and writes only `window` of that (which must lie inside) to
  /// out [window.height, window.width, image.channels], rows `out_stride` bytes apart. The pixels
  /// are those of the whole result; the rest is never computed.
  void run(const Image& image, int height, int width, const Window& window, std::uint8_t* out,
           std::size_t out_stride);

 private:
  /// Filter of one axis: output begin + i is the sum over k < count[i] of
  /// weight[i * taps + k] * in[first[i] + k]. Only of the outputs wanted: a strip of 1 x 10^7
  /// pixels resized by its shorter side has very many.
  struct Axis {
    int in = 0, out = 0, begin = 0, taps = 0;
    std::vector<int> first, count;
    std::vector<std::int32_t> weight;
    /// The same for filter_packed_row(): of each four taps their upper parts, then their lower ones.
    std::vector<std::int16_t> packed;
    int groups = 0;  // of four taps, of each output
    void prepare(int in_size, int out_size, int begin_in, int outputs);
  };
  /// The horizontal pass of these rows, which were prepared for.
  void filter_rows(const Image& image, int first_row, int rows, int outputs, std::uint8_t* to,
                   std::size_t to_stride);

  Axis horizontal_, vertical_;
  std::vector<std::uint8_t> rows_;    // after the horizontal pass
  std::vector<std::uint8_t> padded_;  // one input row and a little room to read past it
};

/// The whole image. height and width >= 1.
Image resize_bilinear(const Image& image, int height, int width);

}  // namespace hh::data
