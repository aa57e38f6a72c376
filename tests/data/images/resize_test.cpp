// SPDX-License-Identifier: Apache-2.0
#include "data/images/resize.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "tests/support/images.h"

namespace hh::data {
namespace {

using testing::picture;

/// The triangle filter of one output in fp64: weights of the inputs, normalised to sum to 1.
std::vector<double> weights(int in, int out, int i) {
  const double scale = double(in) / out, radius = std::max(scale, 1.0);
  const double centre = (i + 0.5) * scale;
  std::vector<double> w(std::size_t(in), 0.0);
  double total = 0;
  for (int k = 0; k < in; ++k) {
    w[std::size_t(k)] = std::max(0.0, 1 - std::abs((k + 0.5 - centre) / radius));
    total += w[std::size_t(k)];
  }
  for (double& v : w) v /= total;
  return w;
}

/// Both passes without any rounding.
std::vector<double> reference(const Image& image, int height, int width) {
  std::vector<double> out;
  for (int y = 0; y < height; ++y) {
    const auto wy = weights(image.height, height, y);
    for (int x = 0; x < width; ++x) {
      const auto wx = weights(image.width, width, x);
      for (int c = 0; c < image.channels; ++c) {
        double sum = 0;
        for (int r = 0; r < image.height; ++r) {
          for (int k = 0; k < image.width; ++k) {
            sum += wy[std::size_t(r)] * wx[std::size_t(k)] *
                   image.pixels[std::size_t((r * image.width + k) * image.channels + c)];
          }
        }
        out.push_back(sum);
      }
    }
  }
  return out;
}

TEST_CASE("resize is an antialiased triangle filter", "[data][resize]") {
  struct Case {
    int in_height, in_width, height, width;
  };
  for (const auto& [in_height, in_width, height, width] :
       {Case{9, 11, 9, 11}, Case{9, 11, 4, 5}, Case{9, 11, 20, 25}, Case{9, 11, 9, 5},
        Case{9, 11, 5, 11}, Case{1, 1, 3, 4}, Case{1, 40, 1, 3}, Case{40, 1, 3, 1},
        Case{17, 33, 1, 1}, Case{12, 40, 6, 37}}) {
    for (const int channels : {1, 3}) {
      const Image image = picture(in_height, in_width, channels);
      const Image out = resize_bilinear(image, height, width);
      const auto wanted = reference(image, height, width);
      REQUIRE(out.pixels.size() == wanted.size());
      // Half a level for the rounding of each pass (the first one's are averaged by the second),
      // and 255 * taps * 2^-23 for the fixed-point weights, below 0.01 here.
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        INFO(in_height << "x" << in_width << " to " << height << "x" << width << " at " << i);
        REQUIRE(std::abs(out.pixels[i] - wanted[i]) <= 1.01);
      }
    }
  }
}

TEST_CASE("a constant image stays constant, black and white too", "[data][resize]") {
  for (const int value : {0, 1, 128, 254, 255}) {
    Image image = picture(31, 47, 3);
    std::fill(image.pixels.begin(), image.pixels.end(), std::uint8_t(value));
    const Image out = resize_bilinear(image, 13, 70);
    REQUIRE(std::all_of(out.pixels.begin(), out.pixels.end(), [&](int v) { return v == value; }));
  }
}

TEST_CASE("grey and colour take the same values", "[data][resize]") {
  Image grey = picture(37, 29, 1);
  const Image out = resize_bilinear(grey, 18, 41);
  convert_channels(grey, 3);
  Image wanted = out;
  convert_channels(wanted, 3);
  REQUIRE(resize_bilinear(grey, 18, 41).pixels == wanted.pixels);
}

TEST_CASE("a window is cut from the whole result, and nothing beside it is written",
          "[data][resize]") {
  Resizer resizer;  // one object for all: its cached coefficients must not leak
  for (const int channels : {1, 3}) {
    const Image image = picture(40, 50, channels);
    for (const auto& [height, width] : {std::pair(40, 50), std::pair(30, 50), std::pair(40, 61),
                                        std::pair(23, 31), std::pair(80, 90)}) {
      const Image whole = resize_bilinear(image, height, width);
      for (const Window& w : {Window{0, 0, height, width}, Window{3, 5, 11, 7},
                              Window{height - 1, width - 1, 1, 1}, Window{2, 2, 0, 3}}) {
        const std::size_t row = std::size_t(w.width * channels), stride = row + 3;
        std::vector<std::uint8_t> out(stride * std::size_t(w.height) + 3, 0xa5), wanted = out;
        for (int y = 0; y < w.height; ++y) {
          std::copy_n(
              &whole.pixels[std::size_t((w.top + y) * width + w.left) * std::size_t(channels)], row,
              &wanted[std::size_t(y) * stride]);
        }
        resizer.run(image, height, width, w, out.data(), stride);
        REQUIRE(out == wanted);
      }
    }
  }
}

TEST_CASE("resize names what it refuses", "[data][resize]") {
  const Image image = picture(4, 4, 3);
  std::vector<std::uint8_t> out(48);
  const auto run = [&](const Image& im, int height, int width, Window w) {
    Resizer().run(im, height, width, w, out.data(), 12);
  };
  REQUIRE_THROWS_AS(run(image, 0, 4, {}), std::invalid_argument);
  REQUIRE_THROWS_AS(run(image, 4, 4, {1, 0, 4, 4}), std::invalid_argument);
  REQUIRE_THROWS_AS(run(image, 4, 4, {-1, 0, 2, 2}), std::invalid_argument);
  Image broken = image;
  broken.pixels.pop_back();
  REQUIRE_THROWS_AS(run(broken, 4, 4, {0, 0, 4, 4}), std::invalid_argument);
  broken = image;
  broken.channels = 2;
  REQUIRE_THROWS_AS(run(broken, 4, 4, {0, 0, 4, 4}), std::invalid_argument);
}

}  // namespace
}  // namespace hh::data
