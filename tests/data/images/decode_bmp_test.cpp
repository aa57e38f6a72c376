// SPDX-License-Identifier: Apache-2.0
// BMP headers, depths and compressions: files of two or three pixels, their bytes written here.
#include <catch2/catch.hpp>
#include <string>

#include "data/images/decode.h"
#include "tests/support/images.h"

namespace hh::data {
namespace {

using Catch::Contains;
using testing::Bytes;

struct Bmp {
  std::uint32_t header = 40;  // its size; 12 has 16-bit sizes
  int width = 2, height = 1, bits = 24;
  std::uint32_t compression = 0, used = 0;
  Bytes after_header;  // masks, palette
  Bytes pixels;
  std::uint32_t gap = 0;  // bytes before the pixels
  Bytes masks;            // inside headers of 52 bytes and more

  Bytes file() const {
    Bytes out{'B', 'M'};
    const auto put = [&](std::uint32_t value, int bytes) {
      for (int i = 0; i < bytes; ++i) out.push_back(i < 4 ? std::uint8_t(value >> (8 * i)) : 0);
    };
    const auto offset = std::uint32_t(14 + header + after_header.size() + gap);
    put(std::uint32_t(offset + pixels.size()), 4);
    put(0, 4);
    put(offset, 4);
    put(header, 4);
    const int side = header == 12 ? 2 : 4;
    put(std::uint32_t(width), side);
    put(std::uint32_t(height), side);
    put(1, 2);
    put(std::uint32_t(bits), 2);
    if (header > 16) {
      put(compression, 4);
      put(0, 12);
      put(used, 4);
      put(0, 4);
    }
    out.insert(out.end(), masks.begin(), masks.end());
    out.resize(14 + header);
    out.insert(out.end(), after_header.begin(), after_header.end());
    out.resize(offset, 0xee);
    out.insert(out.end(), pixels.begin(), pixels.end());
    return out;
  }
};

Bytes decoded(const Bmp& bmp) { return decode_image(bmp.file()).pixels; }

const Bytes kBlueGreen{0, 0, 255, 0, 255, 0};  // as RGB

TEST_CASE("BMP: every header size, gaps, both directions", "[data][decode][bmp]") {
  const Bytes row{255, 0, 0, 0, 255, 0, 9, 9};  // BGR, padded to four bytes
  for (const std::uint32_t header : {12u, 16u, 40u, 52u, 56u, 64u, 108u, 124u}) {
    INFO("a header of " << header << " bytes");
    CHECK(decoded({.header = header, .pixels = row}) == kBlueGreen);
    CHECK(decoded({.header = header, .pixels = row, .gap = 7}) == kBlueGreen);
  }
  const Bytes two{1, 2, 3, 0, 4, 5, 6, 0};
  CHECK(decoded({.width = 1, .height = 2, .pixels = two}) == Bytes{6, 5, 4, 3, 2, 1});
  CHECK(decoded({.width = 1, .height = -2, .pixels = two}) == Bytes{3, 2, 1, 6, 5, 4});
}

TEST_CASE("BMP: palettes, short ones are black past their end", "[data][decode][bmp]") {
  const Bytes palette{255, 0, 0, 0, 0, 255, 0, 0};
  CHECK(decoded({.bits = 1, .after_header = palette, .pixels = {0x40, 0, 0, 0}}) == kBlueGreen);
  CHECK(decoded({.bits = 2, .used = 2, .after_header = palette, .pixels = {0x1c, 0, 0, 0}}) ==
        kBlueGreen);
  CHECK(decoded({.bits = 4, .used = 2, .after_header = palette, .pixels = {0x01, 0, 0, 0}}) ==
        kBlueGreen);
  CHECK(decoded({.bits = 8, .used = 2, .after_header = palette, .pixels = {0, 1, 0, 0}}) ==
        kBlueGreen);
  const Bytes rgb3{255, 0, 0, 0, 255, 0};  // OS/2 1.x: three bytes an entry
  CHECK(decoded({.header = 12, .bits = 1, .after_header = rgb3, .pixels = {0x40, 0, 0, 0}}) ==
        kBlueGreen);
  // A full palette first, whose colours must not be seen again.
  CHECK(decoded(
            {.bits = 8, .after_header = Bytes(std::size_t{1024}, 77), .pixels = {0, 255, 0, 0}}) ==
        Bytes(std::size_t{6}, 77));
  CHECK(decoded({.bits = 8, .used = 2, .after_header = palette, .pixels = {1, 2, 0, 0}}) ==
        Bytes{0, 255, 0, 0, 0, 0});
  // It claims 256 entries, and two fit before the pixels.
  CHECK(decoded({.bits = 8, .after_header = palette, .pixels = {1, 200, 0, 0}}) ==
        Bytes{0, 255, 0, 0, 0, 0});
  CHECK(decoded({.header = 12, .bits = 8, .after_header = rgb3, .pixels = {1, 2, 0, 0}}) ==
        Bytes{0, 255, 0, 0, 0, 0});
  // More entries than the depth has.
  CHECK(decoded({.bits = 1, .used = 2000, .after_header = palette, .pixels = {0x40, 0, 0, 0}}) ==
        kBlueGreen);
}

TEST_CASE("BMP: 16 and 32 bits, with and without masks", "[data][decode][bmp]") {
  // 5-5-5: red 31 of 31, then blue 16 of 31 (131.6) with the unused bit set.
  CHECK(decoded({.bits = 16, .pixels = {0x00, 0x7c, 0x10, 0x80}}) == Bytes{255, 0, 0, 0, 0, 131});
  const Bytes m565{0, 0xf8, 0, 0, 0xe0, 7, 0, 0, 0x1f, 0, 0, 0};
  CHECK(decoded({.bits = 16,
                 .compression = 3,
                 .after_header = m565,
                 .pixels = {0xe0, 0x07, 0x1f, 0xf8}}) == Bytes{0, 255, 0, 255, 0, 255});
  CHECK(decoded({.bits = 32, .pixels = {1, 2, 3, 200, 4, 5, 6, 0}}) == Bytes{3, 2, 1, 6, 5, 4});
  const Bytes abgr{0xff, 0, 0, 0, 0, 0xff, 0, 0, 0, 0, 0xff, 0};
  for (const std::uint32_t header : {52u, 56u, 108u, 124u}) {
    CHECK(decoded({.header = header,
                   .bits = 32,
                   .compression = 3,
                   .pixels = {1, 2, 3, 200, 4, 5, 6, 0},
                   .masks = abgr}) == Bytes{1, 2, 3, 4, 5, 6});
  }
  // Ten bits a colour: 1023 of 1023, 512 of 1023 (127.6), 0.
  const std::uint32_t pixel = 1023u << 20 | 512u << 10 | 0u;
  CHECK(decoded({.width = 1,
                 .bits = 32,
                 .compression = 6,
                 .after_header = {0, 0, 0xf0, 0x3f, 0, 0xfc, 0x0f, 0, 0xff, 3, 0, 0, 0, 0, 0, 0xc0},
                 .pixels = {std::uint8_t(pixel), std::uint8_t(pixel >> 8),
                            std::uint8_t(pixel >> 16), std::uint8_t(pixel >> 24)}}) ==
        Bytes{255, 127, 0});
}

TEST_CASE("BMP: run lengths", "[data][decode][bmp]") {
  Bytes palette;
  for (int i = 0; i < 4; ++i) palette.insert(palette.end(), {0, 0, std::uint8_t(10 * (i + 1)), 0});
  const auto reds = [&](const Bmp& bmp) {
    const Image image = decode_image(bmp.file());
    Bytes red;
    for (std::size_t i = 0; i < image.pixels.size(); i += 3) red.push_back(image.pixels[i]);
    return red;
  };
  Bmp bmp{.width = 4, .height = 2, .bits = 8, .compression = 1, .used = 4, .after_header = palette};
  // A run of three, the end of the line; a literal of three with its padding, the end.
  bmp.pixels = {3, 1, 0, 0, 0, 3, 1, 2, 3, 0, 0, 1};
  CHECK(reds(bmp) == Bytes{20, 30, 40, 10, 20, 20, 20, 10});
  // Moved by one right and one up; what is left out has index 0. A run past the row is cut.
  bmp.pixels = {1, 3, 0, 2, 1, 1, 9, 2, 0, 1};
  CHECK(reds(bmp) == Bytes{10, 10, 30, 30, 40, 10, 10, 10});
  bmp.bits = 4;
  bmp.compression = 2;
  bmp.pixels = {4, 0x12, 0, 0, 0, 3, 0x31, 0x20, 0, 1};
  CHECK(reds(bmp) == Bytes{40, 20, 30, 10, 20, 30, 20, 30});
  bmp.pixels = {4, 0x12, 0, 0, 0, 3, 0x31};
  CHECK_THROWS_WITH(decoded(bmp), Contains("run lengths end too early"));
  bmp.width = bmp.height = 8000;
  CHECK_THROWS_WITH(decoded(bmp), Contains("run lengths end too early"));
}

TEST_CASE("BMP: what it can't be says why", "[data][decode][bmp]") {
  const Bytes row(std::size_t{8}, 0);
  const auto refuse = [](const Bmp& bmp, const std::string& what) {
    CHECK_THROWS_WITH(decode_image(bmp.file()), Contains(what));
  };
  refuse({.header = 41, .pixels = row}, "its header has 41 bytes");
  refuse({.bits = 7, .pixels = row}, "7 bits a pixel");
  refuse({.compression = 4, .pixels = row}, "JPEG data");
  refuse({.header = 64, .bits = 1, .compression = 3, .pixels = row}, "Huffman");
  refuse({.bits = 4, .compression = 1, .pixels = row}, "RLE8");
  refuse({.width = 0, .pixels = row}, "0 x 1 pixels");
  refuse({.width = -2, .pixels = row}, "-2 x 1 pixels");
  refuse({.height = -0x7fffffff - 1, .pixels = row}, "2147483648 pixels");
  refuse({.width = 3, .pixels = row}, "truncated");
  refuse({.bits = 16,
          .compression = 3,
          .after_header = {5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
          .pixels = row},
         "a colour mask has a gap");
}

}  // namespace
}  // namespace hh::data
