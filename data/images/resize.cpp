// SPDX-License-Identifier: Apache-2.0
// Both passes are sums of 22-bit coefficients times 8-bit pixels in 32-bit integers, so the order
// of the terms is free and the vector code gives PIL's bits. The horizontal pass takes one output
// pixel (R, G, B and a fourth lane for nothing) per vector, with AVX2 four of its taps at once; the
// vertical one a row in whole vectors.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "data/images/resize.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "data/images/resize.h"
#include "kernels/core/check.h"

#ifndef HH_RESIZE_CONSTANTS
#define HH_RESIZE_CONSTANTS
namespace hh::data {
/// A coefficient, 0 to 2^22, is taken in two parts of 16 bits: the lower 8, and the rest.
constexpr int kLowBits = 8;
/// How far past a row filter_packed_row() reads: three taps of no weight, and 4 bytes.
constexpr std::size_t kSlack = 16;
}  // namespace hh::data
#endif

HWY_BEFORE_NAMESPACE();
namespace hh::data::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr std::int32_t kHalf = 1 << (kResizePrecisionBits - 1);

HWY_INLINE std::uint8_t round_to_byte(std::int32_t sum) {
  return std::uint8_t(std::clamp(sum >> kResizePrecisionBits, 0, 255));
}

/// out[x] for x < outputs, from one input row. For 3 channels one byte past the last pixel of `in`
/// is read.
void filter_row(const std::uint8_t* in, int channels, const int* first, const int* count,
                const std::int32_t* weight, int taps, int outputs, std::uint8_t* out) {
  if (channels == 1) {
    for (int x = 0; x < outputs; ++x) {
      const std::int32_t* w = weight + std::size_t(x) * std::size_t(taps);
      const std::uint8_t* p = in + first[x];
      std::int32_t sum = kHalf;
      for (int k = 0; k < count[x]; ++k) sum += p[k] * w[k];
      out[x] = round_to_byte(sum);
    }
    return;
  }
#if HWY_TARGET == HWY_SCALAR  // one lane: no vector to hold a pixel
  for (int x = 0; x < outputs; ++x) {
    const std::int32_t* w = weight + std::size_t(x) * std::size_t(taps);
    for (std::size_t c = 0; c < 3; ++c) {
      const std::uint8_t* p = in + 3 * std::size_t(first[x]) + c;
      std::int32_t sum = kHalf;
      for (int k = 0; k < count[x]; ++k) sum += p[3 * k] * w[k];
      out[3 * std::size_t(x) + c] = round_to_byte(sum);
    }
  }
#else
  const hn::FixedTag<std::int32_t, 4> d;
  const hn::Rebind<std::uint8_t, decltype(d)> d8;
  for (int x = 0; x < outputs; ++x) {
    const std::int32_t* w = weight + std::size_t(x) * std::size_t(taps);
    const std::uint8_t* p = in + 3 * std::size_t(first[x]);
    auto sum = hn::Set(d, kHalf);
    for (int k = 0; k < count[x]; ++k) {
      const auto pixel = hn::PromoteTo(d, hn::LoadU(d8, p + 3 * k));
      sum = hn::Add(sum, hn::Mul(pixel, hn::Set(d, w[k])));
    }
    HWY_ALIGN std::uint8_t bytes[4];
    hn::StoreU(hn::DemoteTo(d8, hn::ShiftRight<kResizePrecisionBits>(sum)), d8, bytes);
    std::memcpy(out + 3 * std::size_t(x), bytes, 3);
  }
#endif
}

/// The same of 3 channels by Axis::packed, `groups` of four taps an output. Up to kSlack bytes past the row's end are read. False where the target has no such code.
bool filter_packed_row(const std::uint8_t* in, const int* first, const int* count,
                       const std::int16_t* packed, int groups, int outputs, std::uint8_t* out) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
  const hn::FixedTag<std::int32_t, 8> d;
  const hn::Half<decltype(d)> d_half;
  const hn::Repartition<std::int16_t, decltype(d)> d16;
  const hn::Repartition<std::uint8_t, decltype(d)> d8;
  const hn::Rebind<std::uint8_t, decltype(d_half)> d8_out;
  // Of 16 bytes, four pixels and a third, those of taps 0 and 1 go to the lower block, of 2 and 3 to the
  // upper one: pairs of 16 bits R, R, G, G, B, B, which one instruction multiplies and adds up.
  constexpr std::uint8_t kZero = 0x80;
  HWY_ALIGN static constexpr std::uint8_t kPixels[32] = {
      0, kZero, 3, kZero, 1, kZero, 4,  kZero, 2, kZero, 5,  kZero, kZero, kZero, kZero, kZero,
      6, kZero, 9, kZero, 7, kZero, 10, kZero, 8, kZero, 11, kZero, kZero, kZero, kZero, kZero};
  HWY_ALIGN static constexpr std::uint8_t kHigh[32] = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2,
                                                       3, 0, 1, 2, 3, 4, 5, 6, 7, 4, 5,
                                                       6, 7, 4, 5, 6, 7, 4, 5, 6, 7};
  const auto take_pixels = hn::Load(d8, kPixels);
  const auto take_high = hn::Load(d8, kHigh);
  const auto take_low = hn::Add(take_high, hn::Set(d8, std::uint8_t{8}));
  for (int x = 0; x < outputs; ++x) {
    const std::int16_t* w = packed + std::size_t(x) * std::size_t(groups) * 8;
    const std::uint8_t* p = in + 3 * std::size_t(first[x]);
    auto high = hn::Zero(d), low = high;
    auto unused = high;  // where other targets put a part of the sum
    for (int k = 0; k < count[x]; k += 4, p += 12, w += 8) {
      const auto pixels =
          hn::BitCast(d16, hn::TableLookupBytesOr0(hn::LoadDup128(d8, p), take_pixels));
      const auto weights = hn::BitCast(d8, hn::LoadDup128(d16, w));
      high = hn::ReorderWidenMulAccumulate(
          d, pixels, hn::BitCast(d16, hn::TableLookupBytes(weights, take_high)), high, unused);
      low = hn::ReorderWidenMulAccumulate(
          d, pixels, hn::BitCast(d16, hn::TableLookupBytes(weights, take_low)), low, unused);
    }
    const auto both = hn::Add(hn::ShiftLeft<kLowBits>(high), low);
    const auto sum = hn::Add(hn::Add(hn::LowerHalf(d_half, both), hn::UpperHalf(d_half, both)),
                             hn::Set(d_half, kHalf));
    HWY_ALIGN std::uint8_t bytes[4];
    hn::StoreU(hn::DemoteTo(d8_out, hn::ShiftRight<kResizePrecisionBits>(sum)), d8_out, bytes);
    std::memcpy(out + 3 * std::size_t(x), bytes, 3);
  }
  return true;
#else
  (void)in, (void)first, (void)count, (void)packed, (void)groups, (void)outputs, (void)out;
  return false;
#endif
}

/// out[i] for i < bytes: the weighted sum of `count` rows, `stride` bytes apart.
void filter_column(const std::uint8_t* in, std::size_t stride, int count,
                   const std::int32_t* weight, std::size_t bytes, std::uint8_t* out) {
  const hn::ScalableTag<std::int32_t> d;
  const hn::Rebind<std::uint8_t, decltype(d)> d8;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + 2 * lanes <= bytes; i += 2 * lanes) {
    auto a = hn::Set(d, kHalf), b = a;
    const std::uint8_t* p = in + i;
    for (int k = 0; k < count; ++k, p += stride) {
      const auto w = hn::Set(d, weight[k]);
      a = hn::Add(a, hn::Mul(hn::PromoteTo(d, hn::LoadU(d8, p)), w));
      b = hn::Add(b, hn::Mul(hn::PromoteTo(d, hn::LoadU(d8, p + lanes)), w));
    }
    hn::StoreU(hn::DemoteTo(d8, hn::ShiftRight<kResizePrecisionBits>(a)), d8, out + i);
    hn::StoreU(hn::DemoteTo(d8, hn::ShiftRight<kResizePrecisionBits>(b)), d8, out + i + lanes);
  }
  for (; i < bytes; ++i) {
    std::int32_t sum = kHalf;
    for (int k = 0; k < count; ++k) sum += in[i + std::size_t(k) * stride] * weight[k];
    out[i] = round_to_byte(sum);
  }
}

}  // namespace hh::data::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::data {
HWY_EXPORT(filter_row);
HWY_EXPORT(filter_packed_row);
HWY_EXPORT(filter_column);

void Resizer::Axis::prepare(int in_size, int out_size, int begin_in, int outputs) {
  if (in == in_size && out == out_size && begin == begin_in && int(first.size()) == outputs) return;
  in = 0;  // nothing is cached, should memory run out below
  // The operations, their order and the double type are PIL's: the coefficients must be its bits.
  const double scale = double(in_size) / out_size;
  const double filter_scale = std::max(scale, 1.0);
  const double support = 1.0 * filter_scale;
  const double inverse = 1.0 / filter_scale;
  taps = int(std::ceil(support)) * 2 + 1;
  first.assign(std::size_t(outputs), 0);
  count.assign(std::size_t(outputs), 0);
  weight.assign(std::size_t(outputs) * std::size_t(taps), 0);
  std::vector<double> w(static_cast<std::size_t>(taps));
  for (int i = 0; i < outputs; ++i) {
    const double centre = (begin_in + i + 0.5) * scale;
    const int low = std::max(int(centre - support + 0.5), 0);
    const int high = std::min(int(centre + support + 0.5), in_size);
    double total = 0;
    for (int k = 0; k < high - low; ++k) {
      const double x = std::abs((k + low - centre + 0.5) * inverse);
      w[std::size_t(k)] = x < 1.0 ? 1.0 - x : 0.0;
      total += w[std::size_t(k)];
    }
    first[std::size_t(i)] = low;
    count[std::size_t(i)] = high - low;
    std::int32_t* fixed = &weight[std::size_t(i) * std::size_t(taps)];
    for (int k = 0; k < high - low; ++k) {
      const double share = total != 0.0 ? w[std::size_t(k)] / total : w[std::size_t(k)];
      fixed[k] = int(0.5 + share * (1 << kResizePrecisionBits));
    }
  }
  groups = (taps + 3) / 4;
  packed.assign(std::size_t(outputs) * std::size_t(groups) * 8, 0);
  for (int i = 0; i < outputs; ++i) {
    for (int k = 0; k < count[std::size_t(i)]; ++k) {
      const std::int32_t value = weight[std::size_t(i) * std::size_t(taps) + std::size_t(k)];
      std::int16_t* group =
          &packed[(std::size_t(i) * std::size_t(groups) + std::size_t(k / 4)) * 8];
      group[k % 4] = std::int16_t(value >> kLowBits);
      group[4 + k % 4] = std::int16_t(value & ((1 << kLowBits) - 1));
    }
  }
  in = in_size;
  out = out_size;
  begin = begin_in;
}

void Resizer::filter_rows(const Image& image, int first_row, int rows, int outputs,
                          std::uint8_t* to, std::size_t to_stride) {
  const std::uint8_t* const end = image.pixels.data() + image.pixels.size();
  for (int r = 0; r < rows; ++r, to += to_stride) {
    const std::uint8_t* row = &image.pixels[std::size_t(first_row + r) * image.row_bytes()];
    if (std::size_t(end - row) <
        image.row_bytes() + kSlack) {  // what lies past it is not ours to read
      padded_.assign(row, row + image.row_bytes());
      padded_.resize(image.row_bytes() + kSlack);
      row = padded_.data();
    }
    if (image.channels == 3 && HWY_DYNAMIC_DISPATCH(filter_packed_row)(
                                   row, horizontal_.first.data(), horizontal_.count.data(),
                                   horizontal_.packed.data(), horizontal_.groups, outputs, to)) {
      continue;
    }
    HWY_DYNAMIC_DISPATCH(filter_row)
    (row, image.channels, horizontal_.first.data(), horizontal_.count.data(),
     horizontal_.weight.data(), horizontal_.taps, outputs, to);
  }
}

void Resizer::run(const Image& image, int height, int width, const Window& window,
                  std::uint8_t* out, std::size_t out_stride) {
  HH_PRECONDITION(height >= 1 && width >= 1, "resize: to " << height << " x " << width);
  HH_PRECONDITION(
      image.height >= 1 && image.width >= 1 && (image.channels == 1 || image.channels == 3) &&
          image.pixels.size() == std::size_t(image.height) * image.row_bytes(),
      "resize: an image of " << image.height << " x " << image.width << " x " << image.channels
                             << " with " << image.pixels.size() << " bytes");
  HH_PRECONDITION(window.top >= 0 && window.left >= 0 && window.height >= 0 && window.width >= 0 &&
                      window.height <= height - window.top && window.width <= width - window.left,
                  "resize: a window of " << window.height << " x " << window.width << " at "
                                         << window.top << ", " << window.left << " in " << height
                                         << " x " << width);
  if (window.height == 0 || window.width == 0) return;
  const auto channels = std::size_t(image.channels);
  const std::size_t row_bytes = std::size_t(window.width) * channels;
  // PIL leaves an axis alone whose size doesn't change.
  const bool horizontal = width != image.width, vertical = height != image.height;

  int first_row = window.top, rows = window.height;  // input rows that are needed
  if (vertical) {
    vertical_.prepare(image.height, height, window.top, window.height);
    first_row = vertical_.first.front();
    rows = vertical_.first.back() + vertical_.count.back() - first_row;
  }

  const std::uint8_t* from = &image.pixels[std::size_t(first_row) * image.row_bytes() +
                                           std::size_t(window.left) * channels];
  std::size_t stride = image.row_bytes();
  if (horizontal) {
    horizontal_.prepare(image.width, width, window.left, window.width);
    std::uint8_t* to = out;
    std::size_t to_stride = out_stride;
    if (vertical) {
      rows_.resize(std::size_t(rows) * row_bytes);
      to = rows_.data();
      to_stride = row_bytes;
    }
    filter_rows(image, first_row, rows, window.width, to, to_stride);
    from = rows_.data();
    stride = row_bytes;
  }
  if (vertical) {
    for (int y = 0; y < window.height; ++y) {
      const auto i = std::size_t(y);
      HWY_DYNAMIC_DISPATCH(filter_column)
      (from + std::size_t(vertical_.first[i] - first_row) * stride, stride, vertical_.count[i],
       &vertical_.weight[i * std::size_t(vertical_.taps)], row_bytes, out + i * out_stride);
    }
  } else if (!horizontal) {
    for (int y = 0; y < window.height; ++y) {
      std::memcpy(out + std::size_t(y) * out_stride, from + std::size_t(y) * stride, row_bytes);
    }
  }
}

Image resize_bilinear(const Image& image, int height, int width) {
  Image out;
  out.reshape(height, width, image.channels);
  Resizer().run(image, height, width, {0, 0, height, width}, out.pixels.data(), out.row_bytes());
  return out;
}

}  // namespace hh::data
#endif  // HWY_ONCE
