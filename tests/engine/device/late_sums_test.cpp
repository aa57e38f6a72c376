// SPDX-License-Identifier: Apache-2.0
#include "engine/device/late_sums.h"

#include <catch2/catch.hpp>

#include "engine/device/profiler.h"
#include "engine/ops/linear.h"
#include "engine/tensor/tape.h"
#include "tests/support/device.h"

namespace hh {
namespace {

constexpr int kRows = 5, kCols = 8;

/// Two layers on the same input, whose biases are `bias1` and `bias2` of `parameters`, and backward
/// with gradients of ones. How many launches added up what ops had left.
int additions_of_two_layers(Parameters& parameters, const char* bias1, const char* bias2) {
  const Device device = parameters.flat_weights().device();
  const Tensor x = Tensor::from(std::vector<float>(kRows * kCols, 1), Shape{kRows, kCols}, device);
  parameters.zero_gradients();
  Tape tape;
  {
    const Recording record(&tape);
    for (const char* bias : {bias1, bias2}) {
      const Tensor y = linear(x, *parameters.find("weight"), parameters.find(bias));
      y.gradient()->add(x);
    }
  }
  Profiler profiler;
  profiler.start();
  tape.backward();
  profiler.stop();
  REQUIRE(LateSums::current() == nullptr);
  int additions = 0;
  for (const auto& event : profiler.events()) additions += event.name == "AddPartialSums";
  return additions;
}

TEST_CASE("backward adds up what its ops have left in one launch", "[tape]") {
  const Device device = GENERATE(from_range(testing::devices()));
  CAPTURE(device);
  Parameters parameters;
  for (const char* name : {"weight", "one", "two"}) {
    const Shape shape = name[0] == 'w' ? Shape{kCols, kCols} : Shape{kCols};
    parameters.add(name, shape, Initialisation::kNormal);
  }
  parameters.place(device, DType::f32, /*trainable=*/true);
  parameters.initialise(1);
  const auto gradient = [&](const char* name) {
    return parameters.find(name)->gradient().to_host<float>();
  };
  const bool leaves = device != kCpu;
  CHECK(additions_of_two_layers(parameters, "one", "two") == (leaves ? 1 : 0));
  CHECK(gradient("one") == std::vector<float>(kCols, kRows));
  CHECK(gradient("two") == std::vector<float>(kCols, kRows));
  // One launch may not add to an array twice.
  CHECK(additions_of_two_layers(parameters, "one", "one") == (leaves ? 2 : 0));
  CHECK(gradient("one") == std::vector<float>(kCols, 2 * kRows));
  CHECK(gradient("two") == std::vector<float>(kCols, 0));
}

TEST_CASE("sums that an exception interrupts are forgotten", "[tape]") {
  for (const Device device : testing::devices()) {
    const std::size_t before = memory_statistics(device).in_use;
    Tape tape;
    tape.record([] { throw std::runtime_error("later"); });
    tape.record([device] {
      LateSums::current()->add({.count = 1}, std::make_unique<Storage>(100, device));
    });
    CHECK_THROWS_WITH(tape.backward(), "later");
    CHECK(LateSums::current() == nullptr);
    CHECK(memory_statistics(device).in_use == before);
  }
}

}  // namespace
}  // namespace hh
