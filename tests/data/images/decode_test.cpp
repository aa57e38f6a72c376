// SPDX-License-Identifier: Apache-2.0
#include "data/images/decode.h"

#include <zlib.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>

#include "data/images/decode_formats.h"
#include "engine/files/file.h"
#include "engine/files/file_kind.h"
#include "tests/support/images.h"
#include "tests/support/temporary_folder.h"

namespace hh::data {
namespace {

using Catch::Contains;
using testing::as_text;
using testing::Bytes;
using testing::encode_bmp;
using testing::encode_jpeg;
using testing::encode_png;
using testing::encode_pnm;
using testing::JpegStyle;
using testing::picture;

double mean_difference(const Image& a, const Image& b) {
  REQUIRE(a.pixels.size() == b.pixels.size());
  double sum = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) {
    sum += std::abs(int(a.pixels[i]) - int(b.pixels[i]));
  }
  return sum / double(a.pixels.size());
}

Image without_alpha(const Image& image) {
  Image out;
  out.reshape(image.height, image.width, image.channels == 4 ? 3 : 1);
  const auto from = std::size_t(image.channels), to = std::size_t(out.channels);
  for (std::size_t i = 0; i < out.pixels.size(); ++i) {
    out.pixels[i] = image.pixels[i / to * from + i % to];
  }
  return out;
}

TEST_CASE("lossless formats give their pixels, grey repeated, alpha dropped", "[data][decode]") {
  for (const int channels : {1, 2, 3, 4}) {
    const Image image = picture(13, 7, channels);
    Image wanted = channels % 2 == 0 ? without_alpha(image) : image;
    convert_channels(wanted, 3);
    REQUIRE(decode_image(encode_png(image)).pixels == wanted.pixels);
    if (channels % 2 == 1) REQUIRE(decode_image(encode_pnm(image)).pixels == wanted.pixels);
    if (channels == 3) REQUIRE(decode_image(encode_bmp(image)).pixels == wanted.pixels);
  }
}

TEST_CASE("grey of a colour image is PIL's", "[data][decode]") {
  Image image;
  image.reshape(1, 4, 3);
  image.pixels = {255, 255, 255, 255, 0, 0, 0, 255, 0, 10, 20, 30};
  // round(0.299 R + 0.587 G + 0.114 B), by hand
  REQUIRE(decode_image(encode_png(image), {.channels = 1}).pixels == Bytes{255, 76, 150, 18});
}

TEST_CASE("PNG: 16 bits give their upper byte, a palette is looked up", "[data][decode]") {
  // Two rows of two 16-bit grey samples, each row after its filter byte.
  const Bytes deep = {0, 0x12, 0xff, 0x80, 0x00, 0, 0x00, 0xff, 0xff, 0x01};
  REQUIRE(decode_image(encode_png(2, 2, 16, 0, deep), {.channels = 1}).pixels ==
          Bytes{0x12, 0x80, 0x00, 0xff});
  // One row of four 2-bit indices: 0, 1, 2, 1.
  const Bytes palette = {1, 2, 3, 40, 50, 60, 200, 210, 220};
  REQUIRE(decode_image(encode_png(1, 4, 2, 3, {0, 0b00011001}, palette)).pixels ==
          Bytes{1, 2, 3, 40, 50, 60, 200, 210, 220, 40, 50, 60});
}

TEST_CASE("PNG: an index past the palette is black, whatever was decoded before",
          "[data][decode]") {
  // A full palette first, whose colours must not be seen again.
  REQUIRE(decode_image(encode_png(1, 2, 8, 3, {0, 0, 255}, Bytes(std::size_t{768}, 77))).pixels ==
          Bytes(std::size_t{6}, 77));
  const Bytes palette = {1, 2, 3, 40, 50, 60};
  REQUIRE(decode_image(encode_png(1, 4, 8, 3, {0, 1, 2, 200, 255}, palette)).pixels ==
          Bytes{40, 50, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  REQUIRE(decode_image(encode_png(1, 4, 2, 3, {0, 0b00011011}, palette)).pixels ==
          Bytes{1, 2, 3, 40, 50, 60, 0, 0, 0, 0, 0, 0});
}

TEST_CASE("PNM: plain and raw, bitmaps, any maximum; 16 bits are big-endian", "[data][decode]") {
  const auto bytes = [](const std::string& text) { return Bytes(text.begin(), text.end()); };
  REQUIRE(decode_image(bytes("P5 2 1 65535\n\x12\x34\xff\x01"), {.channels = 1}).pixels ==
          Bytes{0x12, 0xff});
  const auto grey = [&](const std::string& text) {
    return decode_image(bytes(text), {.channels = 1}).pixels;
  };
  REQUIRE(grey("P2 # plain\n3 1\n255\n0 7\n255") == Bytes{0, 7, 255});
  REQUIRE(decode_image(bytes("P3 1 2 15\n0 5 15 # a comment\n15 10 0\n")).pixels ==
          Bytes{0, 85, 255, 255, 170, 0});
  // round(v / maximum * 255), by hand: 7/15 is 119, 2048/4095 is 127.53, 1/2 is even of 127.5.
  REQUIRE(grey(std::string("P5 2 1 15\n\x07\x0f")) == Bytes{119, 255});
  REQUIRE(grey(std::string("P5 2 1 4095\n\x08\x00\x0f\xff", 16)) == Bytes{128, 255});
  REQUIRE(grey("P2 2 1 2 1 2") == Bytes{128, 255});
  REQUIRE(grey(std::string("P5 1 1 15\n\x63")) == Bytes{255});  // over its maximum: cut
  // Bitmaps: 1 is black; raw rows start at a byte.
  REQUIRE(grey("P1 3 2\n1 0 1\n010") == Bytes{0, 255, 0, 255, 0, 255});
  REQUIRE(grey("P4 9 2\n\x80\x80\x7f\x7f").size() == 18);
  REQUIRE(grey("P4 3 2\n\xa0\x40") == Bytes{0, 255, 0, 255, 0, 255});
  const auto refuse = [&](const std::string& text, const std::string& what) {
    INFO(text);
    REQUIRE_THROWS_WITH(decode_image(bytes(text)), Contains(what));
  };
  refuse("P5 2 1 0\n12", "its maximum is 0");
  refuse("P5 2 1 70000\n1234", "its maximum is 70000");
  refuse("P2 2 1 100\n12 101", "a sample is 101, over its maximum of 100");
  refuse("P2 2 1 100\n12", "truncated");
  refuse("P1 2 1\n12", "isn't 0 or 1");
  refuse("P4 9 1\n1", "1 of 2 bytes");
  refuse("P2 8000 8000 255\n1 2 3", "can't hold 8000 x 8000");
  refuse("P7\nWIDTH 2\n", "a PAM image");
  refuse("P5 2 1 255\n1", "1 of 2 bytes");
  refuse("P5 2 x 255\n12", "isn't a number");
  refuse("P5 2 1 255", "truncated");
  refuse("P5 2 1 255#", "doesn't end in white space");
  refuse("P6 # a comment without an end", "truncated");
  refuse("P5 0 1 255\n", "0 x 1");
  refuse("P5 99999999999999999999 1 255\n", "100 million");
  refuse("P5 100000000 100000000 255\n", "100000000 x 100000000");
}

TEST_CASE("JPEG: colour, grey, progressive", "[data][decode]") {
  for (const bool progressive : {false, true}) {
    for (const int channels : {1, 3}) {
      Image image = picture(50, 71, channels);
      const auto file =
          encode_jpeg(image, {.quality = 97, .progressive = progressive, .halve_chroma = false});
      convert_channels(image, 3);
      // At quality 97 the quantisation steps are 1 to 7; half a step, spread over a block.
      REQUIRE(mean_difference(decode_image(file), image) < 3);
    }
  }
}

TEST_CASE("JPEG: CMYK is taken as inverted, as PIL does", "[data][decode]") {
  // Samples 255 - C, 255 - M, 255 - Y, 255 - K of plain colours, in blocks of their own.
  Image image;
  image.reshape(16, 64, 4);
  const int colours[4][4] = {
      {255, 255, 255, 255}, {255, 255, 255, 0}, {0, 255, 255, 255}, {255, 0, 128, 255}};
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 64; ++x) {
      for (int c = 0; c < 4; ++c) {
        image.pixels[std::size_t((y * 64 + x) * 4 + c)] = std::uint8_t(colours[x / 16][c]);
      }
    }
  }
  const Image rgb = decode_image(encode_jpeg(image, {.quality = 100}));
  const int wanted[4][3] = {{255, 255, 255}, {0, 0, 0}, {0, 255, 255}, {255, 0, 128}};
  for (int i = 0; i < 4; ++i) {
    for (int c = 0; c < 3; ++c) {
      const int found = rgb.pixels[std::size_t((8 * 64 + 16 * i + 8) * 3 + c)];
      REQUIRE(std::abs(found - wanted[i][c]) <= 2);  // a flat block's only error is its mean's
    }
  }
}

TEST_CASE("JPEG: scaled decoding halves while the shorter side stays", "[data][decode]") {
  const Image image = picture(200, 320, 3);
  const auto file = encode_jpeg(image);
  const auto sides = [&](int shorter) {
    const Image out = decode_image(file, {.scaled_shorter_side = shorter});
    return std::pair(out.height, out.width);
  };
  REQUIRE(sides(0) == std::pair(200, 320));
  REQUIRE(sides(101) == std::pair(200, 320));
  REQUIRE(sides(100) == std::pair(100, 160));
  REQUIRE(sides(50) == std::pair(50, 80));
  REQUIRE(sides(1) == std::pair(25, 40));
}

TEST_CASE("EXIF orientation is honoured on request only", "[data][decode]") {
  // Dark except for the upper left quarter, so that the corner tells what was done.
  Image image;
  image.reshape(32, 48, 1);
  std::fill(image.pixels.begin(), image.pixels.end(), std::uint8_t{20});
  for (int y = 0; y < 16; ++y) {
    std::fill_n(image.pixels.begin() + y * 48, 24, std::uint8_t{220});
  }
  // Where the bright stored corner belongs: right?, below?, for orientations 1 to 8 (EXIF 2.3,
  // table 6: where row 0 and column 0 lie).
  const bool right[] = {false, true, true, false, false, true, true, false};
  const bool below[] = {false, false, true, true, false, false, true, true};
  for (int o = 1; o <= 8; ++o) {
    const auto file = encode_jpeg(image, {.orientation = o});
    REQUIRE(decode_image(file, {.channels = 1}).width == 48);
    const Image out = decode_image(file, {.channels = 1, .exif_orientation = true});
    REQUIRE(out.width == (o >= 5 ? 32 : 48));
    REQUIRE(out.height == (o >= 5 ? 48 : 32));
    for (const bool r : {false, true}) {
      for (const bool b : {false, true}) {
        const int x = out.width / 4 + (r ? out.width / 2 : 0);
        const int y = out.height / 4 + (b ? out.height / 2 : 0);
        const bool bright = out.pixels[std::size_t(y * out.width + x)] > 120;
        INFO("orientation " << o << ", right " << r << ", below " << b);
        REQUIRE(bright == (r == right[o - 1] && b == below[o - 1]));
      }
    }
  }
}

TEST_CASE("EXIF orientation of a PNG is in its eXIf chunk", "[data][decode]") {
  const Image image = picture(5, 7, 3);
  Bytes file = encode_png(image);
  const Bytes block = testing::exif_block(6, false);
  Bytes chunk{'e', 'X', 'I', 'f'};
  chunk.insert(chunk.end(), block.begin() + 6, block.end());  // without "Exif\0\0"
  const auto sum = crc32(0, chunk.data(), uInt(chunk.size()));
  const auto length = std::uint32_t(chunk.size() - 4);
  const auto big = [](std::uint64_t v) {
    return Bytes{std::uint8_t(v >> 24), std::uint8_t(v >> 16), std::uint8_t(v >> 8),
                 std::uint8_t(v)};
  };
  const Bytes before = big(length), after = big(sum);
  chunk.insert(chunk.begin(), before.begin(), before.end());
  chunk.insert(chunk.end(), after.begin(), after.end());
  constexpr std::ptrdiff_t kAfterHeader = 8 + 25;
  file.insert(file.begin() + kAfterHeader, chunk.begin(), chunk.end());
  CHECK(decode_image(file).pixels == image.pixels);
  Image wanted = image;
  turn_upright(wanted, 6);
  const Image turned = decode_image(file, {.exif_orientation = true});
  CHECK(turned.width == 5);
  CHECK(turned.pixels == wanted.pixels);
}

TEST_CASE("every cut of every format is refused", "[data][decode]") {
  const Image image = picture(9, 11, 3);
  for (const Bytes& file : {encode_png(image), encode_pnm(image), encode_bmp(image),
                            encode_jpeg(image), encode_jpeg(image, {.progressive = true})}) {
    REQUIRE_NOTHROW(decode_image(file));
    // The last two bytes of a JPEG are its end marker, all that is lost without them.
    const std::size_t end = file[0] == 0xff ? file.size() - 2 : file.size();
    for (std::size_t n = 0; n < end; ++n) {
      INFO(n << " of " << file.size() << " bytes of a file that starts with " << int(file[0]));
      // A copy of exactly that size, so that a sanitizer sees a read past it.
      const Bytes cut(file.begin(), file.begin() + std::ptrdiff_t(n));
      REQUIRE_THROWS_AS(decode_image(cut), ImageError);
    }
  }
}

TEST_CASE("any flipped byte gives an error or an image, and in a PNG an error", "[data][decode]") {
  const Image image = picture(9, 11, 3);
  const DecodeOptions options = {.exif_orientation = true, .max_pixels = 1 << 16};
  for (const Bytes& file :
       {encode_png(image), encode_pnm(image), encode_bmp(image),
        encode_jpeg(image, {.orientation = 6}), encode_jpeg(image, {.progressive = true})}) {
    int refused = 0;
    for (std::size_t i = 0; i < file.size(); ++i) {
      Bytes damaged = file;
      damaged[i] ^= std::uint8_t(1u << (i % 8));
      try {
        const Image out = decode_image(damaged, options);
        REQUIRE(out.pixels.size() == std::size_t(out.height) * out.row_bytes());
        REQUIRE(out.channels == 3);
      } catch (const ImageError&) {
        ++refused;
      }
    }
    if (file[0] == 0x89) REQUIRE(refused == int(file.size()));
    REQUIRE(refused > 0);
  }
}

TEST_CASE("sizes are refused before they cost memory", "[data][decode]") {
  const Bytes row(8, 0);
  REQUIRE_THROWS_WITH(decode_image(encode_png(65'500, 65'500, 8, 2, row)),
                      Contains("65500 x 65500 pixels"));
  // Within the limit, but no so small file could hold as much.
  REQUIRE_THROWS_WITH(decode_image(encode_png(8000, 8000, 8, 2, row)),
                      Contains("PNG: it is truncated") && Contains("8000 x 8000"));
  // Small by its header, but its data inflate to 64 MiB: they are left alone.
  REQUIRE(decode_image(encode_png(2, 2, 8, 0, Bytes(std::size_t{64} << 20, 0))).pixels.size() ==
          12);
  auto jpeg = encode_jpeg(picture(8, 8, 3));
  const Bytes marker = {0xff, 0xc0};
  const auto sof = std::search(jpeg.begin(), jpeg.end(), marker.begin(), marker.end());
  REQUIRE(sof != jpeg.end());
  std::fill_n(sof + 5, 4, std::uint8_t{0xf0});  // height and width
  REQUIRE_THROWS_WITH(decode_image(jpeg), Contains("61680 x 61680 pixels"));
  std::fill_n(sof + 5, 4, std::uint8_t{0x1f});
  REQUIRE_THROWS_WITH(decode_image(jpeg), Contains("JPEG: it is truncated") && Contains("pixels"));
  REQUIRE_THROWS_WITH(decode_image(encode_png(picture(5, 4, 3)), {.max_pixels = 19}),
                      Contains("4 x 5 pixels, and the limit is 1.9e-05 million: raise it by "
                               "--max-pixels 1 (in training: --set data.max_pixels=1)"));
  // 12000 x 9000, as phones make them: over the limit by default, and not when that is raised.
  jpeg = encode_jpeg(picture(8, 8, 3));
  const auto size = std::search(jpeg.begin(), jpeg.end(), marker.begin(), marker.end()) + 5;
  const Bytes phone = {9000 >> 8, 9000 & 255, 12000 >> 8, 12000 & 255};
  std::copy(phone.begin(), phone.end(), size);
  REQUIRE_THROWS_WITH(decode_image(jpeg), Contains("12000 x 9000 pixels, and the limit is 67 ") &&
                                              Contains("--max-pixels 108 "));
  REQUIRE_THROWS_WITH(decode_image(jpeg, {.max_pixels = 108'000'000}), Contains("truncated"));
  REQUIRE_NOTHROW(decode_image(encode_png(picture(5, 4, 3)), {.max_pixels = 20}));
}

TEST_CASE("the smallest files that large plain images can have are read", "[data][decode]") {
  Image plain;
  plain.reshape(2000, 2000, 1);
  std::fill(plain.pixels.begin(), plain.pixels.end(), std::uint8_t{128});
  for (const bool progressive : {false, true}) {
    const auto file = encode_jpeg(plain, {.quality = 1, .progressive = progressive});
    REQUIRE(file.size() < 50'000);
    REQUIRE(decode_image(file, {.channels = 1}).pixels == plain.pixels);
  }
  const auto file = encode_png(plain);
  REQUIRE(file.size() < 7'000);
  REQUIRE(decode_image(file, {.channels = 1}).pixels == plain.pixels);
}

TEST_CASE("JPEG: scans without end are refused", "[data][decode]") {
  // The last scan of a progressive file, over and over.
  auto file = encode_jpeg(picture(32, 32, 1), {.progressive = true});
  file.resize(file.size() - 2);
  const Bytes start = {0xff, 0xda};
  const auto last = std::find_end(file.begin(), file.end(), start.begin(), start.end());
  const Bytes scan(last, file.end());
  for (int i = 0; i < 200; ++i) file.insert(file.end(), scan.begin(), scan.end());
  file.insert(file.end(), {0xff, 0xd9});
  REQUIRE_THROWS_WITH(decode_image(file), Contains("too many scans"));
}

TEST_CASE("what is no image is named", "[data][decode]") {
  const testing::TemporaryFolder folder;
  REQUIRE_THROWS_WITH(decode_image({}), Contains("it is empty"));
  const auto kind = [](const std::string& text) {
    return std::string("it is ") + kind_of_file(std::as_bytes(std::span(text))).name;
  };
  CHECK(kind("GIF89a") == "it is a GIF image");
  CHECK(kind(std::string("RIFF\x10\0\0\0WEBPVP8 ", 16)) == "it is a WebP image");
  CHECK(kind(std::string("II*\0\x08\0\0\0", 8)) == "it is a TIFF or raw camera image");
  CHECK(kind(std::string("\0\0\0\x18"
                         "ftypheic",
                         12)) == "it is an HEIC image");
  CHECK(kind(std::string("\0\0\0\x18"
                         "ftypavif",
                         12)) == "it is an AVIF image");
  CHECK(kind("\n <!DOCTYPE html>") == "it is an HTML page");
  CHECK(kind("<?xml version='1.0'?><svg/>") == "it is an SVG image");
  CHECK(kind("words") == "it is ");
  REQUIRE_THROWS_WITH(decode_image(Bytes{'w', 'o', 'r', 'd'}),
                      Contains("no JPEG, PNG, WebP, GIF, TIFF, BMP, PNM"));
  write_file_atomically(folder / "a.jpg", "<html>");
  REQUIRE_THROWS_WITH(load_image(folder / "a.jpg"),
                      Contains("a.jpg: it is an HTML page, which isn't read: convert it"));
  REQUIRE_THROWS_WITH(load_image(folder / "b.jpg"), Contains("b.jpg: can't be opened"));
  REQUIRE_THROWS_AS(load_image(folder.path()), ImageError);
  REQUIRE_THROWS_AS(decode_image({}, {.channels = 2}), std::invalid_argument);
}

}  // namespace
}  // namespace hh::data
