// SPDX-License-Identifier: Apache-2.0
// Networks whose weights are made ready for inference: as bytes, or packed. The products themselves:
// tests/kernels/int8_linear_test.cpp, linear_test.cpp.
#include <catch2/catch.hpp>

#include "engine/ops/linear.h"
#include "engine/tensor/network_type.h"
#include "engine/tensor/tape.h"
#include "kernels/gemm/instructions.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using Catch::Contains;

constexpr int kRows = 150, kIn = 64, kHidden = 256;

struct Mlp {
  explicit Mlp(Device device) {
    parameters.place(device, DType::f32, /*trainable=*/true);
    parameters.initialise(1, {.std = 0.1f});
    x = Tensor::from(testing::normal<float>(kRows * kIn, 1), {kRows, kIn}, device);
  }
  std::vector<float> run(const std::function<void(const Tensor&)>& see = {}) const {
    return mlp(x, weight1, bias1, weight2, KeepHidden::kYes, see).to_host<float>();
  }
  const Parameter& add(const char* name, const Shape& shape) {
    return parameters.add(name, shape, Initialisation::kNormal);
  }
  Parameters parameters;
  const Parameter &weight1 = add("weight1", {kHidden, kIn}), &bias1 = add("bias1", {kHidden}),
                  &weight2 = add("weight2", {kIn, kHidden});
  Tensor x;
};

/// |a - b| over |b|, in l2.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += std::pow(double(a[i]) - double(b[i]), 2);
    size += std::pow(double(b[i]), 2);
  }
  return std::sqrt(difference / size);
}

}  // namespace

TEST_CASE("quantised parameters are multiplied as bytes, but not while a tape records", "[int8]") {
  Mlp net(kCpu);
  if (!cpu::has_int8_products()) {
    CHECK_THROWS_WITH(net.parameters.quantise(), Contains("AVX512_VNNI") && Contains("use f32"));
    return;
  }
  const auto exact = net.run();
  const auto exact_linear = linear(net.x, net.weight1, &net.bias1).to_host<float>();
  net.parameters.quantise();
  CHECK(!net.bias1.int8());
  // Rounding to 127 steps of the largest of 64 to 256 normal values, about 3 deviations: an operand
  // errs by 3 / 127 / sqrt(12) = 0.7 %, and two products of two operands add up to about twice that.
  const auto bytes = net.run();
  CHECK(distance(bytes, exact) < 0.02);
  CHECK(distance(bytes, exact) > 0.001);
  const double one =
      distance(linear(net.x, net.weight1, &net.bias1).to_host<float>(), exact_linear);
  CHECK(one < 0.015);
  CHECK(one > 0.001);

  int seen = 0;
  const auto shown = net.run([&](const Tensor& hidden) {
    ++seen;
    CHECK(hidden.dim(-1) == kHidden);
  });
  CHECK(seen == 1);
  CHECK(shown == bytes);

  Tape tape;
  const Recording record(&tape);
  CHECK(net.run() == exact);
  CHECK(linear(net.x, net.weight1, &net.bias1).to_host<float>() == exact_linear);
}

TEST_CASE("packed parameters give the same bits; what is packed is left alone while a tape records",
          "[ops]") {
  for (const Device device : testing::devices()) {
    Mlp net(device);
    const auto before = net.run();
    const auto linear_before = linear(net.x, net.weight1, &net.bias1).to_host<float>();
    net.parameters.pack();
    CHECK(bool(net.weight1.packed()) == (device == kCpu));
    CHECK(!net.bias1.packed());
    CHECK(net.run() == before);
    CHECK(linear(net.x, net.weight1, &net.bias1).to_host<float>() == linear_before);
    if (device != kCpu) continue;

    // Later changes don't count in inference, and do in training.
    const std::vector<float> zeros(std::size_t(net.weight1.shape().count()), 0.f);
    net.parameters.set(net.weight1, zeros);
    CHECK(net.run() == before);
    Tape tape;
    const Recording record(&tape);
    CHECK(net.run() != before);
  }
}

TEST_CASE("int8 is refused where it can't be", "[int8]") {
  CHECK(network_type("int8").quantised);
  CHECK(network_type("int8").activations == DType::f32);
  CHECK(!network_type("bf16").quantised);
  CHECK(network_type("bf16").activations == DType::bf16);
  CHECK_THROWS_WITH(network_type("int4"), Contains("'int4'") && Contains("int8"));
  for (const Device device : testing::devices()) {
    if (device == kCpu) continue;
    Mlp net(device);
    CHECK_THROWS_WITH(net.parameters.quantise(), Contains("--device cpu"));
  }
}

}  // namespace hh
