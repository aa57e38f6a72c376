// SPDX-License-Identifier: Apache-2.0
// How calls are timed on each device.
#include <algorithm>
#include <catch2/catch.hpp>

#include "bench/support/harness.h"
#include "bench/support/yardstick.h"
#include "kernels/elementwise/add.h"
#include "tests/support/device.h"

namespace hh::bench {
namespace {

TEST_CASE("samples are of calls that were done, on each device", "[bench][devices]") {
  const Device device = GENERATE(from_range(testing::devices()));
  constexpr int kCount = 64;
  const Tensor one = Tensor::from(std::vector<float>(kCount, 1), {kCount}, device);
  const Tensor sum = Tensor::zeros({kCount}, DType::f32, device);
  int calls = 0;
  const auto call =
      prepared(device, Add<float>{.x = one.data<float>(), .y = sum.data<float>(), .n = kCount});
  const auto us = sample(device, {0, 5, 5, false}, [&] {
    ++calls;
    call();
  });
  CAPTURE(device, calls);
  REQUIRE(us.size() == 5);
  CHECK(us.front() > 0);
  CHECK(std::is_sorted(us.begin(), us.end()));
  // A GPU's calls may be recorded once and done many times.
  const float done = sum.to_host<float>()[0];
  CHECK((device == kCpu ? done == float(calls) : done >= 5));
}

TEST_CASE("what can't be recorded is timed call by call", "[bench][devices]") {
  for (const Device device : testing::devices()) {
    if (device == kCpu) continue;
    Tensor to = Tensor::zeros({1}, DType::f32, device);
    const auto us = sample(device, {0, 3, 3, false}, [&] {
      if (backend(device).recording()) throw DeviceError("not in a graph");
      to.zero();
    });
    CHECK(us.size() == 3);
  }
}

}  // namespace
}  // namespace hh::bench
