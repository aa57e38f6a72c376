// SPDX-License-Identifier: Apache-2.0
#include "kernels/input/patchify.h"

#include <catch2/catch.hpp>

#include "kernels/core/parallel.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::normal, testing::unit, testing::Worst;
using Size = std::size_t;

/// Calls f(place in rows, image, channel, line, column) for every element.
template <class F>
void for_each_element(const PatchShape& s, F f) {
  const int across = s.size / s.patch;
  Size at = 0;
  for (int b = 0; b < s.images; ++b) {
    for (int i = 0; i < across; ++i) {
      for (int j = 0; j < across; ++j) {
        for (int c = 0; c < s.channels; ++c) {
          for (int u = 0; u < s.patch; ++u) {
            for (int v = 0; v < s.patch; ++v) {
              f(at++, Size(b), Size(c), Size(i * s.patch + u), Size(j * s.patch + v));
            }
          }
        }
      }
    }
  }
}

PatchShape any_shape() {
  const auto [images, channels, size, patch] = GENERATE(table<int, int, int, int>({{0, 3, 8, 2},
                                                                                   {1, 1, 1, 1},
                                                                                   {2, 3, 8, 2},
                                                                                   {3, 3, 8, 4},
                                                                                   {1, 4, 15, 3},
                                                                                   {2, 2, 14, 7},
                                                                                   {1, 3, 8, 8},
                                                                                   {2, 3, 32, 2},
                                                                                   {1, 3, 64, 4},
                                                                                   {5, 1, 10, 1}}));
  return {.images = images, .channels = channels, .size = size, .patch = patch};
}

Size count(const PatchShape& s) { return Size(s.rows()) * Size(s.cols()); }

TEMPLATE_TEST_CASE("patchify moves every pixel to its place and back", "[input]", float, bf16,
                   f16) {
  using T = TestType;
  const std::vector<Device> devices = testing::devices_of<T>();
  if (devices.empty()) return;
  const Device device = GENERATE_COPY(from_range(devices));
  const PatchShape s = any_shape();
  const int threads = GENERATE(1, 3);
  CAPTURE(device, s.images, s.channels, s.size, s.patch, threads);
  cpu::set_num_threads(threads);
  const Size n = count(s), side = Size(s.size);
  const auto image = normal(n, 1);
  const auto drows = normal<T>(n, 2);
  const Array image_array(device, image), dimage(device, std::vector<float>(n, NAN));
  const Array rows(device, std::vector<T>(n, from_float<T>(NAN))), drows_array(device, drows);
  testing::run(device,
               PatchifyForward<T>{.image = image_array.data(), .rows = rows.data(), .shape = s});
  testing::run(device, PatchifyBackward<T>{
                           .drows = drows_array.data(), .dimage = dimage.data(), .shape = s});
  cpu::set_num_threads(0);
  const auto got = rows.host();
  const auto gradient = dimage.host();
  Size wrong = 0, wrong_gradient = 0;
  for_each_element(s, [&](Size at, Size b, Size c, Size y, Size x) {
    const Size place = ((b * Size(s.channels) + c) * side + y) * side + x;
    wrong += to_float(got[at]) != to_float(from_float<T>(image[place]));
    wrong_gradient += gradient[place] != to_float(drows[at]);
  });
  REQUIRE(wrong == 0);
  REQUIRE(wrong_gradient == 0);
}

TEMPLATE_TEST_CASE("patchify_pixels normalises", "[input]", float, bf16, f16) {
  using T = TestType;
  const std::vector<Device> devices = testing::devices_of<T>();
  if (devices.empty()) return;
  const Device device = GENERATE_COPY(from_range(devices));
  const PatchShape s = any_shape();
  const int threads = GENERATE(1, 3);
  CAPTURE(device, s.images, s.channels, s.size, s.patch, threads);
  cpu::set_num_threads(threads);
  const Size n = count(s), side = Size(s.size);
  std::vector<std::uint8_t> pixels(n);
  for (Size i = 0; i < n; ++i) pixels[i] = std::uint8_t(i * 101 % 256);  // all values, if n >= 256
  const float mean[4] = {0.485f, 0.456f, 0.406f, 0}, std[4] = {0.229f, 0.224f, 0.225f, 2};
  PatchifyPixels<T> args{.shape = s};
  std::copy_n(mean, 4, args.mean);
  std::copy_n(std, 4, args.std);
  const Array pixels_array(device, pixels);
  const Array rows(device, std::vector<T>(n, from_float<T>(NAN)));
  args.pixels = pixels_array.data();
  args.rows = rows.data();
  testing::run(device, args);
  cpu::set_num_threads(0);
  const auto got = rows.host();
  Worst worst;
  for_each_element(s, [&](Size at, Size b, Size c, Size y, Size x) {
    const double value = pixels[((b * side + y) * side + x) * Size(s.channels) + c];
    const double want = (value / 255 - mean[c]) / std[c];
    // Of the two terms, one has three roundings and the other one; then comes their difference.
    const double size = value / 255 / std[c] + mean[c] / std[c];
    const double bound = 4 * unit<float>() * size;
    const double storage = testing::storage<T>() * (std::abs(want) + bound);
    worst.see(to_float(got[at]) - want, bound + storage, at);
  });
  CAPTURE(worst.index);
  REQUIRE(worst.ratio <= 1);
}

TEST_CASE("patchify names what it refuses", "[input]") {
  using Catch::Contains;
  const auto refuses = [](PatchShape s, const char* what) {
    REQUIRE_THROWS_WITH(cpu::run(PatchifyForward<float>{.shape = s}), Contains(what));
    REQUIRE_THROWS_WITH(cpu::run(PatchifyBackward<float>{.shape = s}), Contains(what));
    REQUIRE_THROWS_WITH(cpu::run(PatchifyPixels<float>{.shape = s}), Contains(what));
  };
  refuses({.images = -1, .size = 4}, "images = -1");
  refuses({.images = 1, .channels = 5, .size = 4}, "channels = 5");
  refuses({.images = 1, .channels = 0, .size = 4}, "channels = 0");
  refuses({.images = 1, .size = 4, .patch = 0}, "patch = 0");
  refuses({.images = 1, .size = 9, .patch = 2}, "size = 9");
  refuses({.images = 1, .size = 4}, "null");
  PatchifyPixels<float> args;
  args.std[2] = 0;
  REQUIRE_THROWS_WITH(cpu::run(args), Contains("std[2] = 0"));
}

}  // namespace
}  // namespace hh
