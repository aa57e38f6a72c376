// SPDX-License-Identifier: Apache-2.0
// Two GPUs in turn, from several threads. Hidden: HH_TEST_DEVICES must name both, as
// "cuda:0,cuda:1", and --devices=2 simulates them.
#include <catch2/catch.hpp>
#include <thread>

#include "engine/ops/hash.h"
#include "engine/ops/linear.h"
#include "engine/tensor/tape.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::normal;

/// Forward and backward through a kernel of ours, a product of cuBLASLt and a convolution, with
/// copies both ways; what the weights' gradients are.
std::vector<float> step(Device device) {
  Parameters parameters;
  const Parameter& filter = parameters.add("filter", {6, 4, 3, 3}, Initialisation::kNormal);
  const Parameter& filter_bias = parameters.add("filter_bias", {6}, Initialisation::kNormal);
  const Parameter& weight = parameters.add("weight", {8, 6}, Initialisation::kNormal);
  const Parameter& bias = parameters.add("bias", {8}, Initialisation::kNormal);
  const Parameter& weight2 = parameters.add("weight2", {5, 8}, Initialisation::kNormal);
  parameters.place(device, DType::f32, /*trainable=*/true);
  parameters.initialise(1, {.std = 0.5f});
  Tensor x = Tensor::from(normal(2 * 5 * 5 * 4, 1), {2, 5, 5, 4}, device);
  x.want_gradient();
  Tape tape;
  {
    const Recording record(&tape);
    const Tensor y = mlp(conv2d(x, filter, filter_bias), weight, bias, weight2);
    const auto dy = normal(std::size_t(y.count()), 2);
    y.gradient()->add(Tensor::from(dy, y.shape(), device));
  }
  tape.backward();
  std::vector<float> all = parameters.flat_gradients().to_host<float>();
  const auto dx = x.gradient()->take().clone().to_host<float>();
  all.insert(all.end(), dx.begin(), dx.end());
  const auto late = backend(device).read_later(parameters.flat_gradients().data<float>());
  all.push_back(late->wait());
  return all;
}

TEST_CASE("each GPU computes what it is asked for, whichever was used before", "[.two_gpus]") {
  const std::vector<Device> gpus = testing::devices();
  REQUIRE(gpus.size() == 2);
  REQUIRE(gpus[0] != gpus[1]);
  const std::vector<float> first = step(gpus[0]);
  for (const int i : {1, 0, 1, 1, 0}) CHECK(step(gpus[std::size_t(i)]) == first);
}

TEST_CASE("a new thread's work goes to the GPU that it names", "[.two_gpus]") {
  const std::vector<Device> gpus = testing::devices();
  REQUIRE(gpus.size() == 2);
  const std::vector<float> first = step(gpus[0]);
  for (const Device device : {gpus[1], gpus[0], gpus[1]}) {
    std::vector<float> made;
    std::string error;
    std::thread([&] {
      try {
        made = step(device);
      } catch (const std::exception& e) {
        error = e.what();
      }
    }).join();
    CHECK(error.empty());
    CHECK(made == first);
  }
}

TEST_CASE("a recorded step is replayed on its GPU", "[.two_gpus]") {
  for (const Device device : testing::devices()) {
    const Tensor from = Tensor::from(std::vector<float>{1, 2, 3}, {3}, device);
    const Tensor to = Tensor::zeros({3}, DType::f32, device);
    const auto graph = backend(device).record([&] { to.copy_from(from); });
    REQUIRE(graph != nullptr);
    std::thread([&] { graph->replay(); }).join();
    CHECK(to.to_host<float>() == std::vector<float>{1, 2, 3});
  }
}

}  // namespace
}  // namespace hh
