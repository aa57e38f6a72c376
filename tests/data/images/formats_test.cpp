// SPDX-License-Identifier: Apache-2.0
// WebP, GIF, TIFF, HEIC and AVIF: files that Pillow wrote against what Pillow reads (tests/data/formats).
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <string>

#include "data/images/decode.h"
#include "data/images/decode_formats.h"
#include "engine/files/file.h"
#include "tests/support/images.h"
#include "tests/support/source_dir.h"

namespace hh::data {
namespace {
namespace fs = std::filesystem;

using Catch::Contains;
using testing::Bytes;

fs::path formats() { return testing::source_dir() / "tests/data/formats"; }
Bytes file(const std::string& name) { return read_file(formats() / name, std::size_t{1} << 20); }
bool is_heif_name(const fs::path& name) {
  return name.extension() == ".heic" || name.extension() == ".avif";
}

/// All files but those that hold the results; HEIC and AVIF where they can be read.
std::vector<std::string> names() {
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(formats())) {
    const fs::path name = entry.path().filename();
    if (name.extension() == ".png" || name.extension() == ".py") continue;
    if (!is_heif_name(name) || reads_heif()) found.push_back(name.string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

struct Difference {
  int worst = 0;
  double mean = 0;
};
Difference difference(const Image& a, const Image& b) {
  REQUIRE(a.height == b.height);
  REQUIRE(a.width == b.width);
  Difference d;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) {
    const int one = std::abs(int(a.pixels[i]) - int(b.pixels[i]));
    d.worst = std::max(d.worst, one);
    d.mean += one;
  }
  d.mean /= double(a.pixels.size());
  return d;
}

TEST_CASE("WebP, GIF, TIFF, HEIC and AVIF decode to Pillow's pixels", "[data][decode][formats]") {
  REQUIRE(names().size() >= 28);
  for (const std::string& name : names()) {
    const Image wanted = load_image(formats() / (name + ".png"));
    const Image image = load_image(formats() / name, {.exif_orientation = true});
    REQUIRE(image.channels == 3);
    const Difference d = difference(image, wanted);
    INFO(name << ": differs by " << d.mean << " on average and at most " << d.worst);
    if (is_heif_name(name)) {
      // The codecs' results are fixed bit by bit; each version of libheif makes RGB of them in its
      // own way: rounding, and a chroma sample for four pixels repeated or interpolated.
      CHECK(d.mean <= (name.starts_with("photo") ? 6 : 1));
    } else {
      // libtiff rounds (255 - C) (255 - K) / 255 down, Pillow to the nearest.
      CHECK(d.worst <= (name == "cmyk.tif" ? 1 : 0));
    }
  }
}

TEST_CASE("WebP and TIFF are turned on request only", "[data][decode][formats]") {
  for (const std::string name : {"turned.webp", "turned.tif"}) {
    const Image stored = decode_image(file(name));
    CHECK(stored.pixels == decode_image(file("lossless.webp")).pixels);
    CHECK(decode_image(file(name), {.exif_orientation = true}).height == stored.width);
  }
}

TEST_CASE("a cut file is refused, whatever its format", "[data][decode][formats]") {
  for (const std::string& name : names()) {
    const Bytes whole = file(name);
    REQUIRE_NOTHROW(decode_image(whole));
    int refused = 0;
    for (std::size_t n = 0; n < whole.size(); n += name.ends_with("ic") ? 7 : 1) {
      INFO(n << " of " << whole.size() << " bytes of " << name);
      // A copy of exactly that size, so that a sanitizer sees a read past it.
      const Bytes cut(whole.begin(), whole.begin() + std::ptrdiff_t(n));
      try {
        const Image out = decode_image(cut, {.max_pixels = 1 << 16});
        REQUIRE(out.pixels.size() == std::size_t(out.height) * out.row_bytes());
        // What follows the first picture may be lost: of an animation, a page, an end mark.
        REQUIRE(out.pixels == decode_image(whole).pixels);
      } catch (const ImageError&) {
        ++refused;
      }
    }
    INFO(name << ": " << refused << " of " << whole.size());
    CHECK(refused > 0);
  }
}

TEST_CASE("any flipped byte gives an error or an image, whatever the format",
          "[data][decode][formats]") {
  const DecodeOptions options{.exif_orientation = true, .max_pixels = 1 << 16};
  for (const std::string& name : names()) {
    const Bytes whole = file(name);
    int refused = 0;
    for (std::size_t i = 0; i < whole.size(); i += is_heif_name(name) ? 5 : 1) {
      INFO("byte " << i << " of " << name);
      Bytes damaged = whole;
      damaged[i] ^= std::uint8_t(1u << (i % 8));
      try {
        const Image out = decode_image(damaged, options);
        REQUIRE(out.pixels.size() == std::size_t(out.height) * out.row_bytes());
        REQUIRE(out.channels == 3);
      } catch (const ImageError&) {
        ++refused;
      }
    }
    INFO(name);
    CHECK(refused > 0);
  }
}

/// Sets a field of 2 or 4 bytes, lowest first.
void set(Bytes& to, std::size_t at, std::uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) to[at + std::size_t(i)] = std::uint8_t(value >> (8 * i));
}

/// Where the value of a field of the first directory of a little-endian TIFF lies.
std::size_t tiff_value(const Bytes& bytes, int tag) {
  const auto get = [&](std::size_t at) { return std::size_t(bytes[at]) + 256 * bytes[at + 1]; };
  const std::size_t directory = get(4);
  for (std::size_t i = 0; i < get(directory); ++i) {
    const std::size_t entry = directory + 2 + 12 * i;
    if (int(get(entry)) == tag) return entry + 8;
  }
  FAIL("no field " << tag);
  return 0;
}

TEST_CASE("sizes of every format are refused before they cost memory", "[data][decode][formats]") {
  for (const std::string& name : names()) {
    INFO(name);
    REQUIRE_THROWS_WITH(decode_image(file(name), {.max_pixels = 1000}),
                        Contains("pixels, and the limit is 0.001 million"));
    REQUIRE_NOTHROW(decode_image(file(name), {.max_pixels = 29 * 37}));
  }
  Bytes gif = file("palette.gif");
  set(gif, 6, 0xffff, 2);
  set(gif, 8, 0xffff, 2);
  CHECK_THROWS_WITH(decode_image(gif), Contains("65535 x 65535 pixels, and the limit"));
  set(gif, 6, 8000, 2);
  set(gif, 8, 8000, 2);
  CHECK_THROWS_WITH(decode_image(gif),
                    Contains("GIF: it is truncated: ") && Contains("can't hold 8000 x 8000"));
  for (const std::string name : {"raw.tif", "tiff_lzw.tif", "tiff_adobe_deflate.tif", "jpeg.tif"}) {
    INFO(name);
    Bytes tiff = file(name);
    set(tiff, tiff_value(tiff, 256), 0x40000000, 4);
    CHECK_THROWS_AS(decode_image(tiff), ImageError);
    tiff = file(name);
    for (const int tag : {256, 257}) set(tiff, tiff_value(tiff, tag), 8000, 2);
    CHECK_THROWS_WITH(decode_image(tiff), Contains("can't hold 8000 x 8000"));
  }
  Bytes tiff = file("tiles.tif");
  set(tiff, tiff_value(tiff, 322), 0xfff0, 2);
  set(tiff, tiff_value(tiff, 323), 0xfff0, 2);
  CHECK_THROWS_WITH(decode_image(tiff), Contains("65520 x 65520 pixels, and the limit"));
}

TEST_CASE("TIFF: what isn't read says why", "[data][decode][formats]") {
  Bytes tiff = file("raw.tif");
  set(tiff, tiff_value(tiff, 259), 34676, 2);  // SGILog
  CHECK_THROWS_WITH(decode_image(tiff), Contains("its compression (34676) isn't read"));
  tiff = file("white_is_zero.tif");
  set(tiff, tiff_value(tiff, 258), 64, 2);
  CHECK_THROWS_WITH(decode_image(tiff), Contains("1 sample of 64 bits"));
  tiff = file("white_is_zero.tif");
  set(tiff, tiff_value(tiff, 277), 60000, 2);
  CHECK_THROWS_AS(decode_image(tiff), ImageError);
  // The subfile type in the place of a field that has a default.
  tiff = file("white_is_zero.tif");
  const std::size_t rows = tiff_value(tiff, 278) - 8;
  const Bytes entry = {254, 0, 4, 0, 1, 0, 0, 0, 1, 0, 0, 0};
  std::copy(entry.begin(), entry.end(), tiff.begin() + std::ptrdiff_t(rows));
  CHECK_THROWS_WITH(decode_image(tiff), Contains("a small preview, as in raw camera images"));
}

TEST_CASE("HEIC without libheif says what to install", "[data][decode][formats]") {
  if (reads_heif()) return;
  CHECK_THROWS_WITH(decode_image(file("photo.heic")), Contains("libheif"));
}

}  // namespace
}  // namespace hh::data
