// SPDX-License-Identifier: Apache-2.0
#include "kernels/elementwise/add.h"

#include <catch2/catch.hpp>

#include "kernels/core/parallel.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::normal;

TEMPLATE_TEST_CASE("add agrees with its definition", "[elementwise]", float, bf16, f16) {
  using T = TestType;
  const std::vector<Device> devices = testing::devices_of<T>();
  if (devices.empty()) return;
  const Device device = GENERATE_COPY(from_range(devices));
  const int n = GENERATE(0, 1, 7, 8, 15, 16, 17, 31, 33, 1000, 70001);
  const int threads = GENERATE(1, 3);
  CAPTURE(device, n, threads);
  cpu::set_num_threads(threads);
  auto x = normal<T>(std::size_t(n), 1), y = normal<T>(std::size_t(n), 2);
  if (n > 1) x[1] = from_float<T>(3e38f), y[1] = x[1];  // the sum is infinite
  if (n > 2) x[2] = from_float<T>(NAN);
  const Array x_array(device, x), y_array(device, y);
  testing::run(device, Add<T>{.x = x_array.data(), .y = y_array.data(), .n = n});
  testing::run(device, Add<T>{.x = x_array.data(), .y = x_array.data(), .n = n});
  cpu::set_num_threads(0);
  const auto sum = y_array.host(), twice = x_array.host();
  // One float32 addition and one rounding: nothing to tolerate.
  const auto same = [](T got, float want) {
    const float stored = to_float(from_float<T>(want));
    return to_float(got) == stored || (std::isnan(to_float(got)) && std::isnan(stored));
  };
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    wrong += !same(sum[i], to_float(y[i]) + to_float(x[i]));
    wrong += !same(twice[i], 2 * to_float(x[i]));
  }
  REQUIRE(wrong == 0);
}

TEST_CASE("more blocks than a GPU's grid has are refused before a launch", "[elementwise]") {
  for (const Device device : testing::devices()) {
    if (device == kCpu) continue;
    const Array x(device, std::vector<float>(4)), y(device, std::vector<float>(4));
    const std::int64_t n = std::int64_t{1} << 45;  // no byte of which is touched
    REQUIRE_THROWS_WITH(
        testing::run(device, Add<float>{.x = x.data(), .y = y.data(), .n = n}),
        Catch::Contains("beyond a GPU's") && Catch::Contains("use a smaller batch"));
    CHECK(y.host() == std::vector<float>(4));
  }
}

TEST_CASE("add names what it refuses", "[elementwise]") {
  REQUIRE_THROWS_WITH(cpu::run(Add<float>{.n = -1}), Catch::Contains("n = -1"));
  REQUIRE_THROWS_WITH(cpu::run(Add<float>{.n = 1}), Catch::Contains("null"));
}

}  // namespace
}  // namespace hh
