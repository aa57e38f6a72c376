// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/int8_conv2d.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "kernels/core/parallel.h"
#include "kernels/gemm/instructions.h"
#include "kernels/linear/int8_linear.h"
#include "tests/support/device.h"
#include "tests/support/int8.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using Catch::Matchers::Contains;
using testing::Array, testing::normal, testing::on_cpu_with_int8;
using Size = std::size_t;

/// Weights [Cout, kh, kw, Cin] and as they are packed.
struct Layer {
  explicit Layer(const Conv2dShape& s)
      : in(s.taps() * s.in_channels),
        weight(normal(Size(in) * Size(s.out_channels), 1)),
        packed(kCpu, std::vector<std::uint8_t>(cpu::int8_packed_bytes(in, s.out_channels))) {
    const Array<float> w(kCpu, weight);
    testing::run(
        kCpu,
        Int8Pack{.weight = w.data(), .packed = packed.data(), .in = in, .out = s.out_channels});
  }
  int in;
  std::vector<float> weight;
  Array<std::uint8_t> packed;
};

std::vector<float> convolved(const Layer& layer, const Conv2dShape& s, const std::vector<float>& x,
                             const std::vector<float>* bias) {
  const Array<float> input(kCpu, x), b(kCpu, bias ? *bias : std::vector<float>());
  const Array<float> y(kCpu, std::vector<float>(Size(s.pixels()) * Size(s.out_channels), NAN));
  testing::run(kCpu, Int8Conv2dForward{.x = input.data(),
                                       .packed = layer.packed.data(),
                                       .bias = bias ? b.data() : nullptr,
                                       .y = y.data(),
                                       .shape = s});
  return y.host();
}

/// What every pixel sees, row by row.
std::vector<float> neighbourhoods(const Conv2dShape& s, const std::vector<float>& x) {
  std::vector<float> all;
  for (int b = 0; b < s.images; ++b) {
    for (int i = 0; i < s.height; ++i) {
      for (int j = 0; j < s.width; ++j) {
        for (int u = 0; u < s.kernel_h; ++u) {
          for (int v = 0; v < s.kernel_w; ++v) {
            const int row = i + u - s.kernel_h / 2, column = j + v - s.kernel_w / 2;
            const bool inside = row >= 0 && row < s.height && column >= 0 && column < s.width;
            for (int c = 0; c < s.in_channels; ++c) {
              const int at = ((b * s.height + row) * s.width + column) * s.in_channels + c;
              all.push_back(inside ? x[Size(at)] : 0);
            }
          }
        }
      }
    }
  }
  return all;
}

std::vector<Conv2dShape> shapes() {
  return {{.images = 2,
           .height = 5,
           .width = 7,
           .in_channels = 12,
           .out_channels = 20,
           .kernel_h = 3,
           .kernel_w = 3},
          {.images = 3,
           .height = 4,
           .width = 4,
           .in_channels = 33,
           .out_channels = 64,
           .kernel_h = 1,
           .kernel_w = 3},
          {.images = 1,
           .height = 19,
           .width = 16,
           .in_channels = 32,
           .out_channels = 17,
           .kernel_h = 3,
           .kernel_w = 1},
          {.images = 2,
           .height = 1,
           .width = 2,
           .in_channels = 3,
           .out_channels = 5,
           .kernel_h = 5,
           .kernel_w = 5}};
}

}  // namespace

TEST_CASE("int8_conv2d is int8_linear on what each pixel sees", "[conv][int8]") {
  if (!on_cpu_with_int8()) return;
  for (const Conv2dShape& s : shapes()) {
    CAPTURE(s.height, s.width, s.kernel_h, s.kernel_w);
    const Layer layer(s);
    const auto x = normal(Size(s.pixels()) * Size(s.in_channels), 2, 0.5f);
    const auto bias = normal(Size(s.out_channels), 3);
    for (const bool with_bias : {false, true}) {
      const Array<float> seen(kCpu, neighbourhoods(s, x)), b(kCpu, bias);
      const Array<float> y(kCpu, std::vector<float>(Size(s.pixels()) * Size(s.out_channels), NAN));
      testing::run(kCpu, Int8LinearForward{.x = seen.data(),
                                           .packed = layer.packed.data(),
                                           .bias = with_bias ? b.data() : nullptr,
                                           .y = y.data(),
                                           .rows = s.pixels(),
                                           .in = layer.in,
                                           .out = s.out_channels});
      CHECK(convolved(layer, s, x, with_bias ? &bias : nullptr) == y.host());
    }
  }
}

TEST_CASE("int8_conv2d is near the convolution of its operands", "[conv][int8]") {
  if (!on_cpu_with_int8()) return;
  for (const Conv2dShape& s : shapes()) {
    CAPTURE(s.height, s.width, s.kernel_h, s.kernel_w);
    const Layer layer(s);
    const auto x = normal(Size(s.pixels()) * Size(s.in_channels), 2, 0.5f);
    const auto y = convolved(layer, s, x, nullptr), seen = neighbourhoods(s, x);
    const Size in = Size(layer.in), out = Size(s.out_channels);
    double difference = 0, size = 0;
    for (Size r = 0; r < Size(s.pixels()); ++r) {
      for (Size o = 0; o < out; ++o) {
        double sum = 0;
        for (Size i = 0; i < in; ++i) sum += double(seen[r * in + i]) * layer.weight[o * in + i];
        difference += std::pow(y[r * out + o] - sum, 2);
        size += sum * sum;
      }
    }
    // Both operands round to 127 steps of their largest, 3 to 4 deviations: 0.7 to 0.9 % each.
    CHECK(std::sqrt(difference / size) < 0.02);
  }
}

TEST_CASE("int8_conv2d gives the same bits for any number of threads and in any batch",
          "[conv][int8]") {
  if (!on_cpu_with_int8()) return;
  for (Conv2dShape s : shapes()) {
    const Layer layer(s);
    const auto x = normal(Size(s.pixels()) * Size(s.in_channels), 2);
    cpu::set_num_threads(1);
    const auto y = convolved(layer, s, x, nullptr);
    cpu::set_num_threads(3);
    CHECK(convolved(layer, s, x, nullptr) == y);
    const Size all = Size(s.images);
    s.images = 1;
    CHECK(convolved(layer, s, {x.begin(), x.begin() + std::ptrdiff_t(x.size() / all)}, nullptr) ==
          std::vector<float>(y.begin(), y.begin() + std::ptrdiff_t(y.size() / all)));
  }
  cpu::set_num_threads(0);
}

TEST_CASE("int8_conv2d names what it refuses", "[conv][int8]") {
  const Conv2dShape whole = shapes()[0];
  Conv2dShape s = whole;
  s.kernel_h = 2;
  CHECK_THROWS_WITH(cpu::run(Int8Conv2dForward{.shape = s}), Contains("kernel_h = 2"));
  CHECK_THROWS_WITH(cpu::run(Int8Conv2dForward{.shape = whole}), Contains("null"));
  s = whole;
  s.in_channels = 10000;
  CHECK_THROWS_WITH(cpu::run(Int8Conv2dForward{.shape = s}), Contains("in_channels = 10000"));
}

}  // namespace hh
