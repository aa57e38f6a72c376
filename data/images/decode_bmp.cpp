// SPDX-License-Identifier: Apache-2.0
// BMP of every header since OS/2 1.x, by code of ours: 1 to 32 bits, bit fields, run lengths, rows
// from the bottom up or from the top down. Colours are Pillow's: palette entries that the file
// doesn't have are black, pixels that run lengths leave out have index 0, samples of fewer bits are
// value * 255 / largest. Alpha is dropped.
#include <algorithm>
#include <array>
#include <bit>
#include <string>

#include "data/images/decode_formats.h"

namespace hh::data {
namespace {

using Bytes = std::span<const std::uint8_t>;

enum Compression : std::uint32_t {
  kRgb = 0,
  kRle8 = 1,
  kRle4 = 2,
  kBitFields = 3,
  kAlphaFields = 6
};
constexpr std::size_t kFileHeader = 14;
constexpr std::size_t kOs2 = 12, kOs2Short = 16, kOs2Long = 64, kInfo = 40;  // header sizes

struct Channel {
  std::uint32_t mask = 0;
  std::uint8_t of(std::uint32_t pixel) const {
    if (mask == 0) return 0;
    const int shift = std::countr_zero(mask);
    const std::uint64_t largest = mask >> shift;
    return std::uint8_t(std::uint64_t((pixel & mask) >> shift) * 255 / largest);
  }
};

struct Header {
  std::size_t size = 0;
  std::int64_t width = 0, height = 0;
  bool from_top = false;
  int bits = 0;
  std::uint32_t compression = kRgb;
  std::size_t pixels = 0;             // where they start in the file
  std::array<Channel, 3> channels{};  // red, green, blue; 16 and 32 bits
  std::array<std::array<std::uint8_t, 3>, 256>
      palette{};  // up to 8 bits; black where none is given

  std::size_t row_bytes() const { return std::size_t((width * bits + 31) / 32 * 4); }
  bool has_palette() const { return bits <= 8; }
};

class Reader {
 public:
  explicit Reader(Bytes bytes) : bytes_(bytes) {}
  std::uint32_t u32(std::size_t at) const { return u16(at) | std::uint32_t(u16(at + 2)) << 16; }
  std::uint16_t u16(std::size_t at) const {
    if (at + 2 > bytes_.size()) throw ImageError("BMP: it is truncated in its header");
    return std::uint16_t(bytes_[at] | bytes_[at + 1] << 8);
  }

 private:
  Bytes bytes_;
};

void check_kind(const Header& h) {
  constexpr int kKnownBits[] = {1, 2, 4, 8, 16, 24, 32};
  if (std::find(std::begin(kKnownBits), std::end(kKnownBits), h.bits) == std::end(kKnownBits)) {
    throw ImageError("BMP: it has " + std::to_string(h.bits) +
                     " bits a pixel; 1, 2, 4, 8, 16, 24 or 32 are possible");
  }
  const bool os2 = h.size == kOs2Short || h.size == kOs2Long;
  const bool known = h.compression == kRgb || (h.compression == kRle8 && h.bits == 8) ||
                     (h.compression == kRle4 && h.bits == 4) ||
                     ((h.compression == kBitFields || h.compression == kAlphaFields) && !os2 &&
                      (h.bits == 16 || h.bits == 32));
  if (known) return;
  constexpr const char* kNames[] = {
      "none", "RLE8", "RLE4", "bit fields", "JPEG data", "PNG data", "bit fields with alpha"};
  const char* name = os2 && h.compression == 3   ? "Huffman"
                     : os2 && h.compression == 4 ? "RLE24"
                     : h.compression < 7         ? kNames[h.compression]
                                                 : "unknown";
  throw ImageError("BMP: its compression " + std::to_string(h.compression) + " (" + name + ") at " +
                   std::to_string(h.bits) + " bits isn't read: save it uncompressed");
}

/// The masks of 16 and 32 bits a pixel, and how many bytes of them follow the header.
std::size_t read_masks(const Reader& read, Header& h) {
  std::array<std::uint32_t, 3> masks{0xff0000, 0xff00, 0xff};
  if (h.bits == 16) masks = {0x7c00, 0x3e0, 0x1f};
  std::size_t after_header = 0;
  if (h.compression == kBitFields || h.compression == kAlphaFields) {
    // Headers from 52 bytes on hold them, where they'd follow a shorter one.
    for (std::size_t i = 0; i < 3; ++i) masks[i] = read.u32(kFileHeader + kInfo + 4 * i);
    if (h.size == kInfo) after_header = h.compression == kAlphaFields ? 16 : 12;
  }
  for (std::size_t i = 0; i < 3; ++i) {
    const std::uint32_t mask = masks[i];
    const std::uint32_t ones = mask == 0 ? 0 : mask >> std::countr_zero(mask);
    if ((ones & (ones + 1)) != 0)
      throw ImageError("BMP: a colour mask has a gap; save it with 8 bits a colour");
    h.channels[i].mask = mask;
  }
  return after_header;
}

/// The entries that the file has between `start` and the pixels; the others stay black.
void read_palette(Bytes bytes, std::size_t start, std::uint32_t used, Header& h) {
  const std::size_t entry = h.size == kOs2 ? 3 : 4;
  const std::size_t all = std::size_t{1} << h.bits;
  const std::size_t end = std::min(h.pixels > start ? h.pixels : bytes.size(), bytes.size());
  const std::size_t room = end > start ? (end - start) / entry : 0;
  const std::size_t count = std::min({used == 0 ? all : std::size_t(used), all, room});
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint8_t* blue = &bytes[start + i * entry];
    h.palette[i] = {blue[2], blue[1], blue[0]};
  }
  if (h.pixels == 0) h.pixels = start + count * entry;
}

Header read_header(Bytes bytes, const DecodeOptions& options) {
  const Reader read(bytes);
  Header h;
  h.pixels = read.u32(10);
  h.size = read.u32(kFileHeader);
  constexpr std::size_t kSizes[] = {kOs2, kOs2Short, kInfo, 52, 56, kOs2Long, 108, 124};
  if (std::find(std::begin(kSizes), std::end(kSizes), h.size) == std::end(kSizes)) {
    throw ImageError("BMP: its header has " + std::to_string(h.size) +
                     " bytes; 12, 16, 40, 52, 56, 64, 108 or 124 are possible");
  }
  std::uint32_t used = 0;
  if (h.size == kOs2) {
    h.width = read.u16(18);
    h.height = read.u16(20);
    h.bits = read.u16(24);
  } else {
    h.width = std::int32_t(read.u32(18));
    const std::int64_t height = std::int32_t(read.u32(22));
    h.from_top = height < 0;
    h.height = h.from_top ? -height : height;
    h.bits = read.u16(28);
    if (h.size > kOs2Short) {
      h.compression = read.u32(30);
      used = read.u32(46);
    }
  }
  check_kind(h);
  check_image_size(h.height, h.width, options);
  const std::size_t start = kFileHeader + h.size + read_masks(read, h);
  if (h.has_palette()) {
    read_palette(bytes, start, used, h);
  } else if (h.pixels == 0) {
    h.pixels = start;
  }
  if (h.pixels < kFileHeader + h.size || h.pixels > bytes.size()) {
    throw ImageError("BMP: it is truncated or damaged: its pixels start at byte " +
                     std::to_string(h.pixels) + " of " + std::to_string(bytes.size()));
  }
  return h;
}

/// One palette index a byte, rows in the file's order.
class RunLengths {
 public:
  RunLengths(Bytes bytes, const Header& h) : rest_(bytes), h_(h) {
    // A pair of bytes gives 255 pixels at most. What claims more is truncated, and must not get
    // memory.
    if (h.width * h.height / 255 > std::int64_t(bytes.size())) truncated();
    indices_.resize(std::size_t(h.width) * std::size_t(h.height));
  }

  std::vector<std::uint8_t> read() {
    while (y_ < h_.height) {
      const int count = next(), value = next();
      if (count > 0) {
        run(count, value);
      } else if (value == 0) {
        x_ = 0;
        ++y_;
      } else if (value == 1) {
        break;  // the end of the picture: what is left has index 0
      } else if (value == 2) {
        x_ += next();
        y_ += next();
      } else {
        literal(value);
      }
    }
    return std::move(indices_);
  }

 private:
  [[noreturn]] static void truncated() {
    throw ImageError("BMP: it is truncated: its run lengths end too early");
  }
  std::uint8_t next() {
    if (rest_.empty()) truncated();
    const std::uint8_t byte = rest_[0];
    rest_ = rest_.subspan(1);
    return byte;
  }
  void put(int index) {
    // Runs past the end of a row are cut, as everyone does.
    if (x_ < h_.width && y_ < h_.height)
      indices_[std::size_t(y_ * h_.width + x_)] = std::uint8_t(index);
    ++x_;
  }
  static int nibble(int byte, int i) { return i % 2 == 0 ? byte >> 4 : byte & 15; }
  void run(int count, int value) {
    for (int i = 0; i < count; ++i) put(h_.bits == 8 ? value : nibble(value, i));
  }
  void literal(int count) {
    const int bytes = h_.bits == 8 ? count : (count + 1) / 2;
    int byte = 0;
    for (int i = 0; i < count; ++i) {
      if (h_.bits == 8 || i % 2 == 0) byte = next();
      put(h_.bits == 8 ? byte : nibble(byte, i));
    }
    if (bytes % 2 == 1) next();  // literals fill 16 bits
  }

  Bytes rest_;
  const Header& h_;
  std::int64_t x_ = 0, y_ = 0;
  std::vector<std::uint8_t> indices_;
};

void palette_row(const Header& h, const std::uint8_t* row, std::uint8_t* to) {
  const int per_byte = 8 / h.bits, mask = (1 << h.bits) - 1;
  for (std::int64_t x = 0; x < h.width; ++x, to += 3) {
    const int shift = 8 - h.bits * int(x % per_byte + 1);
    const auto& colour = h.palette[std::size_t(row[x / per_byte] >> shift & mask)];
    std::copy(colour.begin(), colour.end(), to);
  }
}

void plain_row(const Header& h, const std::uint8_t* row, std::uint8_t* to) {
  const int bytes = h.bits / 8;
  for (std::int64_t x = 0; x < h.width; ++x, row += bytes, to += 3) {
    if (bytes == 3) {
      std::reverse_copy(row, row + 3, to);
      continue;
    }
    std::uint32_t pixel = 0;
    for (int i = bytes - 1; i >= 0; --i) pixel = pixel << 8 | row[i];
    for (std::size_t c = 0; c < 3; ++c) to[c] = h.channels[c].of(pixel);
  }
}

}  // namespace

bool is_bmp(Bytes bytes) { return bytes.size() >= 2 && bytes[0] == 'B' && bytes[1] == 'M'; }

Image decode_bmp(Bytes bytes, const DecodeOptions& options) {
  Header h = read_header(bytes, options);
  Bytes pixels = bytes.subspan(h.pixels);
  std::vector<std::uint8_t> indices;
  std::size_t stride = h.row_bytes();
  if (h.compression == kRle8 || h.compression == kRle4) {
    indices = RunLengths(pixels, h).read();
    pixels = indices;
    h.bits = 8;
    stride = std::size_t(h.width);
  }
  const std::size_t needed = stride * std::size_t(h.height);
  if (pixels.size() < needed) {
    throw ImageError("BMP: it is truncated: " + std::to_string(bytes.size()) + " of " +
                     std::to_string(h.pixels + needed) + " bytes");
  }
  Image image;
  image.reshape(int(h.height), int(h.width), 3);
  for (std::int64_t y = 0; y < h.height; ++y) {
    const std::int64_t stored = h.from_top ? y : h.height - 1 - y;
    const std::uint8_t* row = &pixels[std::size_t(stored) * stride];
    std::uint8_t* to = &image.pixels[std::size_t(y) * image.row_bytes()];
    h.has_palette() ? palette_row(h, row, to) : plain_row(h, row, to);
  }
  return image;
}

}  // namespace hh::data
