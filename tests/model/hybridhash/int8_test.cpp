// SPDX-License-Identifier: Apache-2.0
// The network whose products are of bytes, beside itself in float32: that each layer has its weights in the
// order that its rows have.
#include "tests/support/int8.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "kernels/core/philox.h"
#include "model/hybridhash/hybridhash.h"
#include "model/training/pixels.h"

namespace hh {
namespace {

/// Patch sides that are even and odd, as kernels' are.
HybridHashConfig config_of(int patch) {
  HybridHashConfig config;
  config.image_size = 8 * patch;
  config.patch = patch;
  config.dims = {16, 32, 32};
  config.heads = {1, 2, 2};
  config.depths = {1, 1, 1};
  config.bits = 16;
  config.drop_path = 0;
  return config;
}

TEST_CASE("a network's outputs in int8 are near those in float32", "[int8]") {
  if (!testing::on_cpu_with_int8()) return;
  const int patch = GENERATE(2, 3);
  const HybridHashConfig config = config_of(patch);
  Parameters parameters;
  const HybridHash network(config, parameters);
  parameters.place(kCpu, DType::f32, /*trainable=*/false);
  parameters.initialise(1, {.fan_in = true});

  constexpr int kImages = 8;
  const Philox random(3, RandomPurpose::kTest);
  std::vector<std::uint8_t> pixels(
      std::size_t(kImages * config.image_size * config.image_size * 3));
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = std::uint8_t(random.below(std::uint64_t(i), 256));
  }
  const auto outputs = [&] {
    return network.forward(patch_rows(network, pixels, {}, DType::f32, kCpu)).code.to_host<float>();
  };
  const std::vector<float> exact = outputs();
  parameters.quantise();
  const std::vector<float> bytes = outputs();
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    difference += std::pow(double(bytes[i]) - double(exact[i]), 2);
    size += std::pow(double(exact[i]), 2);
  }
  // Some twenty layers one after the other, each 1 % off where errors are independent: 5 %. A layer whose
  // weights are in another order is off by as much as its output, 0.5 and more of the network's.
  CAPTURE(std::sqrt(difference / size));
  CHECK(std::sqrt(difference / size) < 0.15);
  CHECK(difference > 0);
}

}  // namespace
}  // namespace hh
