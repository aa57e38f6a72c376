// SPDX-License-Identifier: Apache-2.0
#include "data/images/transform.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <map>
#include <string>

#include "data/images/decode.h"
#include "tests/support/images.h"

namespace hh::data {
namespace {

using Catch::Contains;
using testing::Bytes;
using testing::picture;

Bytes transformed(const TransformSpec& spec, Image image, const DrawKey& key = {}) {
  Bytes out(std::size_t(spec.size * spec.size * spec.channels), 0xa5);
  Transformer(spec).run(image, key, out.data());
  return out;
}

/// The S x S pixels at (top, left); zero where that is outside.
Bytes cut(const Image& image, int top, int left, int size) {
  Bytes out;
  for (int y = top; y < top + size; ++y) {
    for (int x = left; x < left + size; ++x) {
      for (int c = 0; c < image.channels; ++c) {
        const bool inside = y >= 0 && x >= 0 && y < image.height && x < image.width;
        out.push_back(inside ? image.pixels[std::size_t((y * image.width + x) * image.channels + c)]
                             : 0);
      }
    }
  }
  return out;
}

Bytes mirrored(const Bytes& pixels, int size, int channels) {
  Bytes out;
  for (int y = 0; y < size; ++y) {
    for (int x = size - 1; x >= 0; --x) {
      for (int c = 0; c < channels; ++c) {
        out.push_back(pixels[std::size_t((y * size + x) * channels + c)]);
      }
    }
  }
  return out;
}

TransformSpec plain(int size, int channels) {
  TransformSpec spec;
  spec.size = size;
  spec.channels = channels;
  spec.resize = Resize::kNone;
  return spec;
}

TEST_CASE("the centre crop rounds as Python does, and pads what is too small",
          "[data][transform]") {
  // (height, top) for S = 4: round(0.5) = 0, round(1.5) = 2, round(2.5) = 2; (4 - h) / 2 zeros.
  for (const auto& [height, top] :
       {std::pair(4, 0), std::pair(5, 0), std::pair(6, 1), std::pair(7, 2), std::pair(8, 2),
        std::pair(9, 2), std::pair(3, 0), std::pair(2, -1), std::pair(1, -1)}) {
    for (const int channels : {1, 3}) {
      const Image tall = picture(height, 4, channels), wide = picture(4, height, channels);
      INFO(height);
      REQUIRE(transformed(plain(4, channels), tall) == cut(tall, top, 0, 4));
      REQUIRE(transformed(plain(4, channels), wide) == cut(wide, 0, top, 4));
    }
  }
}

TEST_CASE("28 x 28 grey in 32 x 32: two zeros all round", "[data][transform]") {
  const Image image = picture(28, 28, 1);
  REQUIRE(transformed(plain(32, 1), image) == cut(image, -2, -2, 32));
}

TEST_CASE("channels are converted", "[data][transform]") {
  Image grey = picture(8, 8, 1);
  Bytes wanted;
  for (const std::uint8_t v : grey.pixels) wanted.insert(wanted.end(), 3, v);
  REQUIRE(transformed(plain(8, 3), grey) == wanted);
}

TEST_CASE("the shorter side is resized to, the longer one rounded down", "[data][transform]") {
  TransformSpec spec = plain(4, 3);
  spec.resize = Resize::kShorterSide;
  spec.resize_to = 4;
  for (const auto& [in, out] : {std::pair(11, 6), std::pair(13, 7), std::pair(15, 8)}) {
    const Image wide = picture(7, in, 3), tall = picture(in, 7, 3);
    REQUIRE(transformed(spec, wide) == transformed(plain(4, 3), resize_bilinear(wide, 4, out)));
    REQUIRE(transformed(spec, tall) == transformed(plain(4, 3), resize_bilinear(tall, out, 4)));
  }
}

TEST_CASE("the reference's pipeline at other sizes keeps 256 to 224", "[data][transform]") {
  REQUIRE(image_eval_transform(224).resize_to == 256);
  REQUIRE(image_eval_transform(112).resize_to == 128);
  REQUIRE(image_eval_transform(32).resize_to == 37);
  REQUIRE(image_eval_transform(224).fixed());
  REQUIRE_FALSE(image_train_transform(224).fixed());
  REQUIRE(image_train_transform(224).flip_probability == 0.5f);
}

TEST_CASE("random crops and flips are uniform and depend on seed, epoch and image alone",
          "[data][transform]") {
  TransformSpec spec = plain(4, 1);
  spec.crop = Crop::kAnywhere;
  spec.flip_probability = 0.5f;
  const Image image = picture(6, 5, 1);  // 3 x 2 corners
  std::map<Bytes, std::string> names;
  for (int top = 0; top < 3; ++top) {
    for (int left = 0; left < 2; ++left) {
      const Bytes crop = cut(image, top, left, 4);
      names[crop] = std::to_string(top) + std::to_string(left);
      names[mirrored(crop, 4, 1)] = names[crop] + "f";
    }
  }
  REQUIRE(names.size() == 12);
  std::map<std::string, int> count;
  constexpr int kDraws = 12'000;
  Transformer transformer(spec);
  for (int i = 0; i < kDraws; ++i) {
    Image copy = image;
    Bytes out(16);
    transformer.run(copy, {5, std::uint32_t(i % 3), std::uint64_t(i / 3)}, out.data());
    REQUIRE(names.contains(out));
    ++count[names[out]];
    if (i % 1000 == 0)
      REQUIRE(transformed(spec, image, {5, std::uint32_t(i % 3), std::uint64_t(i / 3)}) == out);
  }
  // Each of the 12 outcomes: binomial(12000, 1/12), standard deviation 30.3; 5 of them.
  REQUIRE(count.size() == 12);
  for (const auto& [name, n] : count) {
    INFO(name);
    REQUIRE(std::abs(n - 1000) < 152);
  }
}

TEST_CASE("crops near the centre reach every shift, over the edge too", "[data][transform]") {
  TransformSpec spec = plain(8, 3);
  spec.crop = Crop::kNearCentre;
  spec.max_shift = 2;
  const Image image = picture(8, 6, 3);
  std::vector<std::pair<Bytes, bool>> shifts;
  for (int top = -2; top <= 2; ++top) {
    for (int left = -3; left <= 1; ++left) shifts.push_back({cut(image, top, left, 8), false});
  }
  for (std::uint64_t i = 0; i < 400; ++i) {
    const Bytes out = transformed(spec, image, {1, 0, i});
    const auto found =
        std::find_if(shifts.begin(), shifts.end(), [&](const auto& s) { return s.first == out; });
    REQUIRE(found != shifts.end());
    found->second = true;
  }
  // (24/25)^400 * 25 < 3e-6 would miss one.
  REQUIRE(std::all_of(shifts.begin(), shifts.end(), [](const auto& s) { return s.second; }));
}

TEST_CASE("flips at probability 0 and 1", "[data][transform]") {
  TransformSpec spec = plain(5, 3);
  const Image image = picture(5, 5, 3);
  for (std::uint64_t i = 0; i < 50; ++i) {
    spec.flip_probability = 1;
    REQUIRE(transformed(spec, image, {9, 1, i}) == mirrored(image.pixels, 5, 3));
    spec.flip_probability = 0;
    REQUIRE(transformed(spec, image, {9, 1, i}) == image.pixels);
  }
}

TEST_CASE("strips too thin to resize are bad images, not bad memory", "[data][transform]") {
  TransformSpec spec = image_eval_transform(224);
  Bytes out(std::size_t{224} * 224 * 3);
  for (const auto& [height, width] : {std::pair(1, 70'000), std::pair(70'000, 1)}) {
    Image strip;
    strip.reshape(height, width, 3);
    std::fill(strip.pixels.begin(), strip.pixels.end(), std::uint8_t{7});
    REQUIRE_THROWS_AS(Transformer(spec).run(strip, {}, out.data()), ImageError);
  }
  Image strip;
  strip.reshape(1, 60'000, 3);
  std::fill(strip.pixels.begin(), strip.pixels.end(), std::uint8_t{7});
  Transformer(spec).run(strip, {}, out.data());
  REQUIRE(std::all_of(out.begin(), out.end(), [](int v) { return v == 7; }));
}

TEST_CASE("transform names what it refuses", "[data][transform]") {
  const auto refuse = [](auto change, const std::string& field) {
    TransformSpec spec;
    change(spec);
    REQUIRE_THROWS_AS(spec.validate(), std::invalid_argument);
    REQUIRE_THROWS_WITH(Transformer(spec), Contains(field));
  };
  refuse([](TransformSpec& s) { s.size = 0; }, "size = 0");
  refuse([](TransformSpec& s) { s.channels = 2; }, "channels = 2");
  refuse([](TransformSpec& s) { s.resize_to = 0; }, "resize_to = 0");
  refuse([](TransformSpec& s) { s.max_shift = -1; }, "max_shift = -1");
  refuse([](TransformSpec& s) { s.flip_probability = 1.5f; }, "flip_probability = 1.5");
  refuse([](TransformSpec& s) { s.flip_probability = NAN; }, "flip_probability");
  refuse([](TransformSpec& s) { s.std[1] = 0; }, "channel 1");
}

}  // namespace
}  // namespace hh::data
