// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/bias_gelu.h"

#include <catch2/catch.hpp>

#include "kernels/core/parallel.h"
#include "tests/support/device.h"
#include "tests/support/gelu.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::Bounded, testing::BoundedSum, testing::normal, testing::stored,
    testing::Worst;
using namespace testing::gelu_reference;
using Size = std::size_t;

template <class T>
std::vector<T> run_forward(Device device, int rows, int cols, const std::vector<T>& x,
                           const std::vector<float>& bias, bool in_place = false) {
  const Array x_array(device, x), y(device, std::vector<T>(x.size(), from_float<T>(NAN)));
  const Array bias_array(device, bias);
  const auto& out = in_place ? x_array : y;
  testing::run(device, BiasGeluForward<T>{.x = x_array.data(),
                                          .bias = bias_array.data(),
                                          .y = out.data(),
                                          .rows = rows,
                                          .cols = cols});
  return out.host();
}

template <class T>
struct Gradients {
  std::vector<T> dx;
  std::vector<float> dbias;
};

template <class T>
Gradients<T> run_backward(Device device, int rows, int cols, const std::vector<T>& x,
                          const std::vector<float>& bias, const std::vector<T>& dy,
                          const std::vector<float>& before, bool in_place = false) {
  const Array x_array(device, x), dy_array(device, dy),
      dx(device, std::vector<T>(x.size(), from_float<T>(NAN)));
  const Array bias_array(device, bias), dbias(device, before);
  const auto& out = in_place ? dy_array : dx;
  testing::run(device, BiasGeluBackward<T>{.x = x_array.data(),
                                           .bias = bias_array.data(),
                                           .dy = dy_array.data(),
                                           .dx = out.data(),
                                           .dbias = dbias.data(),
                                           .rows = rows,
                                           .cols = cols});
  return {out.host(), dbias.host()};
}

template <class T>
void check(Device device, int rows, int cols, const std::vector<T>& x,
           const std::vector<float>& bias) {
  const auto dy = normal<T>(x.size(), 3);
  const auto before = normal(Size(cols), 4);
  const Allowance allowed = allowance(device);
  const auto y = run_forward(device, rows, cols, x, bias);
  const auto [dx, dbias] = run_backward(device, rows, cols, x, bias, dy, before);
  Worst y_error, dx_error, dbias_error;
  std::vector<BoundedSum> sums(before.begin(), before.end());
  for (Size i = 0; i < x.size(); ++i) {
    const Size c = i % Size(cols);
    const Bounded want = stored<T>(forward(to_float(x[i]), bias[c], allowed.tail));
    y_error.see(to_float(y[i]) - want.value, want.bound, i);
    const Bounded d = derivative(to_float(x[i]), bias[c], allowed.slope);
    const double g = to_float(dy[i]);
    const Bounded product{g * d.value, std::abs(g) * (d.bound + kUnit * std::abs(d.value)) * 1.01};
    const Bounded rounded = stored<T>(product);
    dx_error.see(to_float(dx[i]) - rounded.value, rounded.bound, i);
    sums[c].add(product.value, product.bound);
  }
  for (Size c = 0; c < sums.size(); ++c) {
    dbias_error.see(dbias[c] - sums[c].value, sums[c].bound(), c);
  }
  CAPTURE(y_error.index, dx_error.index, dbias_error.index);
  REQUIRE(y_error.ratio <= 1);
  REQUIRE(dx_error.ratio <= 1);
  REQUIRE(dbias_error.ratio <= 1);
}

TEMPLATE_TEST_CASE("bias_gelu agrees with its definition", "[bias_gelu]", float, bf16, f16) {
  using T = TestType;
  const std::vector<Device> devices = testing::devices_of<T>();
  if (devices.empty()) return;
  const Device device = GENERATE_COPY(from_range(devices));
  const int rows = GENERATE(0, 1, 13);
  const int cols = GENERATE(1, 7, 8, 16, 17, 31, 64, 100, 129, 512);
  CAPTURE(device, rows, cols);
  const Size n = Size(rows) * Size(cols);
  check(device, rows, cols, normal<T>(n, 1, 0, 2), normal(Size(cols), 2));
}

TEMPLATE_TEST_CASE("bias_gelu over the range of numbers", "[bias_gelu]", float, bf16) {
  using T = TestType;
  const Device device = GENERATE(from_range(testing::devices()));
  // Both tails in small steps, where Phi - 1/2 and where 1 - Phi would cancel, then all magnitudes.
  std::vector<T> x;
  for (int i = -14000; i <= 14000; ++i) x.push_back(from_float<T>(float(i) * 1.0009e-3f));
  for (int e = -126; e <= 60; ++e) {
    for (const double m : {1.0, 1.37, 1.99}) {
      x.push_back(from_float<T>(float(std::ldexp(m, e))));
      x.push_back(from_float<T>(float(-std::ldexp(m, e))));
    }
  }
  check(device, int(x.size()), 1, x, {0.0f});
}

TEMPLATE_TEST_CASE("bias_gelu of arrays off every boundary gives the same bits", "[bias_gelu]",
                   float, bf16) {
  using T = TestType;
  const Device device = GENERATE(from_range(testing::devices()));
  const int rows = 5, cols = 32;
  auto values = normal<T>(Size(rows * cols), 1);
  const auto bias = normal(Size(cols), 2);
  const auto want = run_forward(device, rows, cols, values, bias);
  values.insert(values.begin(), T{});
  const Array x(device, values), y(device, std::vector<T>(values.size())), bias_array(device, bias);
  testing::run(device, BiasGeluForward<T>{.x = x.data() + 1,
                                          .bias = bias_array.data(),
                                          .y = y.data() + 1,
                                          .rows = rows,
                                          .cols = cols});
  const auto got = y.host();
  Size wrong = 0;
  for (Size i = 0; i < want.size(); ++i) wrong += to_float(got[i + 1]) != to_float(want[i]);
  REQUIRE(wrong == 0);
}

TEST_CASE("bias_gelu keeps a NaN", "[bias_gelu]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const std::vector<float> x(20, NAN), bias(20, 0.0f);
  for (const float y : run_forward(device, 1, 20, x, bias)) REQUIRE(std::isnan(y));
}

TEMPLATE_TEST_CASE("bias_gelu in place and with more threads gives the same bits", "[bias_gelu]",
                   float, bf16) {
  using T = TestType;
  const Device device = GENERATE(from_range(testing::devices()));
  const int rows = 400, cols = GENERATE(7, 128);
  const auto bits = [](const std::vector<T>& values) {
    std::vector<float> wide;
    for (const T v : values) wide.push_back(to_float(v));
    return wide;
  };
  const auto x = normal<T>(Size(rows * cols), 1), dy = normal<T>(x.size(), 2);
  const auto bias = normal(Size(cols), 3), before = normal(Size(cols), 4);
  cpu::set_num_threads(1);
  const auto y = run_forward(device, rows, cols, x, bias);
  const auto one = run_backward(device, rows, cols, x, bias, dy, before);
  for (const int threads : {1, 2, 3}) {
    cpu::set_num_threads(threads);
    CHECK(bits(run_forward(device, rows, cols, x, bias, true)) == bits(y));
    const auto got = run_backward(device, rows, cols, x, bias, dy, before, true);
    CHECK(bits(got.dx) == bits(one.dx));
    CHECK(got.dbias == one.dbias);
  }
  cpu::set_num_threads(0);
}

TEST_CASE("bias_gelu's definition and its gradient agree", "[bias_gelu]") {
  Worst worst;
  for (int i = -60; i <= 60; ++i) {
    const double v = i * 0.1, h = 1e-5;
    // h^2 of the third derivative, which is below 2, and 1e-16 / h of rounding of values below 6.
    worst.see((gelu(v + h) - gelu(v - h)) / (2 * h) - slope(v), 1e-9, Size(i + 60));
    worst.see((slope(v + h) - slope(v - h)) / (2 * h) - second(v), 1e-9, Size(i + 60));
  }
  CAPTURE(worst.index);
  REQUIRE(worst.ratio <= 1);
}

TEST_CASE("bias_gelu names what it refuses", "[bias_gelu]") {
  using Catch::Contains;
  REQUIRE_THROWS_WITH(cpu::run(BiasGeluForward<float>{.rows = -1, .cols = 1}),
                      Contains("rows = -1"));
  REQUIRE_THROWS_WITH(cpu::run(BiasGeluForward<float>{.rows = 1}), Contains("cols = 0"));
  REQUIRE_THROWS_WITH(cpu::run(BiasGeluForward<float>{.rows = 1, .cols = 1}), Contains("null"));
  REQUIRE_THROWS_WITH(cpu::run(BiasGeluBackward<float>{.rows = 1, .cols = -2}),
                      Contains("cols = -2"));
  REQUIRE_THROWS_WITH(cpu::run(BiasGeluBackward<float>{.rows = 1, .cols = 1}), Contains("null"));
}

}  // namespace
}  // namespace hh
