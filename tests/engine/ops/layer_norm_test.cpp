// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/layer_norm.h"

#include <catch2/catch.hpp>

#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

// Without a tape z takes residual's place in memory, but only when nothing else reads that.
TEST_CASE("a residual that is shared isn't overwritten in inference", "[layer_norm]") {
  const Device device = GENERATE(from_range(testing::devices()));
  CAPTURE(device);
  constexpr int kRows = 5, kCols = 32;
  Parameters parameters;
  const auto add = [&](const char* name) -> const Parameter& {
    return parameters.add(name, {kCols}, Initialisation::kNormal);
  };
  const Parameter &bias = add("bias"), &gamma = add("gamma"), &beta = add("beta");
  parameters.place(device, DType::f32, /*trainable=*/false);
  parameters.initialise(1, {.std = 0.2f});
  const NormParameters norm{.gamma = gamma, .beta = beta};
  const auto values = testing::normal(kRows * kCols, 1);
  const Tensor branch = Tensor::from(testing::normal(kRows * kCols, 2), {kRows, kCols}, device);

  Tensor shared = Tensor::from(values, {kRows, kCols}, device);
  const Tensor other = shared;
  const ResidualPair kept = residual_layer_norm(shared, branch, bias, {}, norm);
  CHECK(other.to_host<float>() == values);
  CHECK(kept.z.data<float>() != other.data<float>());

  const Tensor alone = Tensor::from(values, {kRows, kCols}, device);
  const float* memory = alone.data<float>();
  const ResidualPair reused = residual_layer_norm(alone, branch, bias, {}, norm);
  CHECK(reused.z.data<float>() == memory);
  CHECK(reused.z.to_host<float>() == kept.z.to_host<float>());
  CHECK(reused.y.to_host<float>() == kept.y.to_host<float>());
}

}  // namespace
}  // namespace hh
