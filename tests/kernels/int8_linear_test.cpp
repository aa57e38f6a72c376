// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/int8_linear.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "kernels/core/parallel.h"
#include "kernels/gemm/instructions.h"
#include "tests/support/device.h"
#include "tests/support/gelu.h"
#include "tests/support/int8.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using Catch::Matchers::Contains;
using testing::Array, testing::normal, testing::on_cpu_with_int8, testing::Worst;
using Size = std::size_t;

struct Layer {
  Layer(int in_size, int out_size, std::vector<float> weight_values)
      : in(in_size),
        out(out_size),
        weight(std::move(weight_values)),
        packed(kCpu, std::vector<std::uint8_t>(cpu::int8_packed_bytes(in, out))) {
    const Array<float> w(kCpu, weight);
    testing::run(kCpu, Int8Pack{.weight = w.data(), .packed = packed.data(), .in = in, .out = out});
  }
  Layer(int in_size, int out_size, std::uint64_t seed)
      : Layer(in_size, out_size, normal(Size(in_size) * Size(out_size), seed)) {}
  int in, out;
  std::vector<float> weight;
  Array<std::uint8_t> packed;
};

std::vector<float> forward(const Layer& layer, const std::vector<float>& x,
                           const std::vector<float>* bias, bool gelu = false) {
  const auto rows = std::int64_t(x.size()) / layer.in;
  const Array<float> input(kCpu, x), b(kCpu, bias ? *bias : std::vector<float>());
  const Array<float> y(kCpu, std::vector<float>(Size(rows) * Size(layer.out), NAN));
  testing::run(kCpu, Int8LinearForward{.x = input.data(),
                                       .packed = layer.packed.data(),
                                       .bias = bias ? b.data() : nullptr,
                                       .y = y.data(),
                                       .gelu = gelu,
                                       .rows = rows,
                                       .in = layer.in,
                                       .out = layer.out});
  return y.host();
}

/// A row as the definition rounds it; the roundings to integers are float32's, as they are part of it.
struct Rounded {
  Rounded(const float* x, int n) : q(Size(n), 0) {
    float most = 0;
    for (int i = 0; i < n; ++i) most = std::max(most, std::abs(x[i]));
    if (most < 1e-30f) return;
    scale = most / 127;
    const float inverse = 127 / most;
    for (int i = 0; i < n; ++i) q[Size(i)] = int(std::nearbyint(x[i] * inverse));
  }
  float scale = 0;
  std::vector<int> q;
};

std::vector<Rounded> rounded_rows(const std::vector<float>& values, int n) {
  std::vector<Rounded> rows;
  for (Size at = 0; at < values.size(); at += Size(n)) rows.emplace_back(values.data() + at, n);
  return rows;
}

/// The largest error in units of what float32 may add to the exact sum of integers: its conversion,
/// the product of the scales, the product of both (with the bias in one rounding), and GELU's own.
Worst judge(const Layer& layer, const std::vector<float>& x, const std::vector<float>* bias,
            bool gelu, const std::vector<float>& y) {
  const auto inputs = rounded_rows(x, layer.in), weights = rounded_rows(layer.weight, layer.in);
  Worst worst;
  for (Size r = 0; r < inputs.size(); ++r) {
    for (Size o = 0; o < weights.size(); ++o) {
      std::int64_t sum = 0;
      for (Size i = 0; i < Size(layer.in); ++i) sum += inputs[r].q[i] * weights[o].q[i];
      const double product = double(inputs[r].scale) * double(weights[o].scale) * double(sum);
      const double v = product + (bias ? double((*bias)[o]) : 0);
      constexpr double kUnit = testing::unit<float>();
      double want = v, bound = kUnit * (2 * std::abs(product) + std::abs(v)) + 0x1p-149;
      if (gelu) {  // its slope is at most 1.13
        const auto exact =
            testing::gelu_reference::forward(v, 0, testing::gelu_reference::allowance(kCpu).tail);
        want = exact.value;
        bound = 1.13 * bound + exact.bound;
      }
      const Size at = r * weights.size() + o;
      worst.see(double(y[at]) - want, bound, at);
    }
  }
  return worst;
}

}  // namespace

TEST_CASE("int8_linear agrees with its definition", "[linear][int8]") {
  if (!on_cpu_with_int8()) return;
  const std::int64_t sizes[][3] = {{1, 1, 1},      {7, 33, 70},     {16, 48, 128},  {130, 32, 96},
                                   {196, 512, 65}, {5, 2048, 512},  {33, 129, 513}, {600, 64, 17},
                                   {49, 128, 512}, {3, 4095, 1030}, {515, 5, 3}};
  for (const auto& [rows, in, out] : sizes) {
    const Layer layer(int(in), int(out), 1);
    const auto x = normal(Size(rows * in), 2, 0.5f), bias = normal(Size(out), 3);
    for (const bool with_bias : {true, false}) {
      for (const bool gelu : {false, true}) {
        if (gelu && !with_bias) continue;
        CAPTURE(rows, in, out, with_bias, gelu);
        const auto* const b = with_bias ? &bias : nullptr;
        CHECK(judge(layer, x, b, gelu, forward(layer, x, b, gelu)).ratio <= 1);
      }
    }
  }
}

TEST_CASE("int8_linear's sums are exact at the largest they can be", "[linear][int8]") {
  if (!on_cpu_with_int8()) return;
  constexpr int kIn = 65536;
  std::vector<float> weight(2 * Size(kIn), 1);
  std::fill(weight.begin() + kIn, weight.end(), -1.0f);
  const Layer layer(kIn, 2, weight);
  std::vector<float> x(2 * Size(kIn), 127);
  std::fill(x.begin() + kIn, x.end(), -127.0f);
  // 127 x 127 x 65536 has 14 digits of 2 and 16 zeros: float32 holds it, and 127 / 127 is 1.
  const float whole = 127.0f * kIn;
  CHECK(judge(layer, x, nullptr, false, forward(layer, x, nullptr)).ratio <= 1);
  CHECK(forward(layer, x, nullptr)[0] == Approx(whole).epsilon(1e-6));
  CHECK(forward(layer, x, nullptr)[1] == Approx(-whole).epsilon(1e-6));
}

TEST_CASE("int8_linear's rows of zeros, outliers and numbers that are none", "[linear][int8]") {
  if (!on_cpu_with_int8()) return;
  constexpr int kIn = 37, kOut = 45, kRows = 40;
  auto weight = normal(Size(kIn) * kOut, 1);
  std::fill_n(weight.begin() + 3 * kIn, kIn, 0.0f);  // output 3
  const Layer layer(kIn, kOut, weight);
  const auto bias = normal(Size(kOut), 2);
  const auto plain = normal(Size(kRows) * kIn, 3);
  auto x = plain;
  const auto row = [&](int r) { return x.begin() + std::ptrdiff_t(r) * kIn; };
  std::fill_n(row(1), kIn, 0.0f);
  std::fill_n(row(2), kIn, 1e-40f);
  *(row(4) + 11) = 1e36f;
  *(row(6) + 36) = NAN;
  *(row(17) + 0) = -INFINITY;
  const auto y = forward(layer, x, &bias), before = forward(layer, plain, &bias);
  for (int r = 0; r < kRows; ++r) {
    for (int o = 0; o < kOut; ++o) {
      const Size at = Size(r) * kOut + Size(o);
      CAPTURE(r, o);
      if (r == 1 || r == 2) {
        REQUIRE(y[at] == bias[Size(o)]);
      } else if (r == 6 || r == 17) {
        REQUIRE(std::isnan(y[at]));
      } else if (o == 3) {
        REQUIRE(y[at] == bias[3]);
      } else if (r != 4) {
        REQUIRE(y[at] == before[at]);
      }
    }
  }
  // The outlier is all that its row keeps.
  const std::vector<float> outlier(row(4), row(5));
  CHECK(judge(layer, outlier, &bias, false, forward(layer, outlier, &bias)).ratio <= 1);

  weight[5 * kIn + 2] = INFINITY;
  const auto broken = forward(Layer(kIn, kOut, weight), plain, &bias);
  for (Size at = 0; at < broken.size(); ++at) REQUIRE(std::isnan(broken[at]) == (at % kOut == 5));
}

TEST_CASE("int8_mlp gives the bits of its two layers", "[linear][int8]") {
  if (!on_cpu_with_int8()) return;
  const std::int64_t sizes[][4] = {
      {1, 1, 1, 1}, {70, 33, 130, 34}, {300, 128, 512, 128}, {196, 512, 2048, 512}};
  for (const auto& [rows, in, hidden, out] : sizes) {
    CAPTURE(rows, in, hidden, out);
    const Layer first(int(in), int(hidden), 1), second(int(hidden), int(out), 2);
    const auto x = normal(Size(rows * in), 3), bias = normal(Size(hidden), 4);
    const Array<float> input(kCpu, x), b(kCpu, bias);
    const Array<float> y(kCpu, std::vector<float>(Size(rows * out), NAN));
    testing::run(kCpu, Int8MlpForward{.x = input.data(),
                                      .packed1 = first.packed.data(),
                                      .bias1 = b.data(),
                                      .packed2 = second.packed.data(),
                                      .y = y.data(),
                                      .rows = rows,
                                      .in = int(in),
                                      .hidden = int(hidden),
                                      .out = int(out)});
    CHECK(y.host() == forward(second, forward(first, x, &bias, true), nullptr));
  }
}

TEST_CASE("int8_linear gives the same bits for any number of threads and rows", "[linear][int8]") {
  if (!on_cpu_with_int8()) return;
  constexpr int kIn = 96, kOut = 200, kRows = 530;
  const Layer layer(kIn, kOut, 1);
  const auto x = normal(Size(kRows) * kIn, 2), bias = normal(Size(kOut), 3);
  const auto y = forward(layer, x, &bias, true);
  const int threads = cpu::num_threads();
  for (const int n : {1, 2, 3, 7}) {
    cpu::set_num_threads(n);
    CHECK(forward(layer, x, &bias, true) == y);
  }
  cpu::set_num_threads(threads);
  const std::vector<float> last(x.end() - 3 * kIn, x.end());
  CHECK(forward(layer, last, &bias, true) == std::vector<float>(y.end() - 3 * kOut, y.end()));
}

TEST_CASE("int8_linear names what it refuses", "[linear][int8]") {
  CHECK_THROWS_WITH((Int8Pack{.in = 65537, .out = 1}.validate()), Contains("in = 65537"));
  CHECK_THROWS_WITH((Int8LinearForward{.rows = -1, .in = 1, .out = 1}.validate()),
                    Contains("rows = -1"));
  CHECK_THROWS_WITH((Int8LinearForward{.rows = 1, .in = 1, .out = 1}.validate()),
                    Contains("an array is null"));
  CHECK_THROWS_WITH((Int8LinearForward{.gelu = true, .in = 1, .out = 1}.validate()),
                    Contains("gelu without a bias"));
  CHECK_THROWS_WITH((Int8MlpForward{.rows = 1, .in = 1, .hidden = 0, .out = 1}.validate()),
                    Contains("out = 0"));
  for (const Device device : testing::devices()) {
    if (device == kCpu) continue;
    CHECK_THROWS_WITH(backend(device).kernels().of<Int8LinearForward>(),
                      Contains("int8 on the CPU only"));
  }
}

}  // namespace hh
