// SPDX-License-Identifier: Apache-2.0
#include "engine/tensor/tensor.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "engine/device/backend.h"
#include "engine/device/launch.h"
#include "kernels/elementwise/add.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::normal;

TEST_CASE("shapes", "[tensor]") {
  const Shape shape{2, 3, 4};
  REQUIRE(shape.axes() == 3);
  REQUIRE(shape[1] == 3);
  REQUIRE(shape.count() == 24);
  REQUIRE(to_string(shape) == "[2, 3, 4]");
  REQUIRE(shape.to_vector() == std::vector<std::int64_t>{2, 3, 4});
  REQUIRE(shape == Shape{2, 3, 4});
  REQUIRE_FALSE(shape == Shape{2, 3});
  REQUIRE_FALSE(shape == Shape{2, 3, 5});
  REQUIRE_FALSE(shape == Shape{2, 3, 4, 1});
  REQUIRE(Shape{}.count() == 1);  // a scalar
  REQUIRE(to_string(Shape{}) == "[]");
  REQUIRE(Shape{5, 0, 3}.count() == 0);
  REQUIRE(Shape{1, 2, 3, 4, 5, 6}.count() == 720);
  REQUIRE_THROWS_WITH((Shape{1, 1, 1, 1, 1, 1, 1}), Catch::Contains("at most 6 axes, not 7"));
  REQUIRE_THROWS_WITH((Shape{2, -1}), Catch::Contains("negative: -1"));
}

TEMPLATE_TEST_CASE("values come back as they went", "[tensor]", float, double, bf16, f16,
                   std::uint8_t, std::int32_t, std::int64_t) {
  using T = TestType;
  const Device device = GENERATE(from_range(testing::devices()));
  std::vector<T> values(300);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if constexpr (std::is_same_v<T, bf16> || std::is_same_v<T, f16>) {
      values[i].bits = std::uint16_t(i * 219);
    } else {
      values[i] = T(i);
    }
  }
  const Tensor t = Tensor::from(values, {10, 30}, device);
  REQUIRE(t.dtype() == dtype_of<T>());
  REQUIRE(t.device() == device);
  REQUIRE(t.bytes() == 300 * sizeof(T));
  REQUIRE((t.dim(0) == 10 && t.dim(1) == 30 && t.dim(-1) == 30 && t.dim(-2) == 10));
  const std::vector<T> back = t.to_host<T>();
  REQUIRE(back.size() == values.size());
  REQUIRE(std::memcmp(back.data(), values.data(), t.bytes()) == 0);
  t.zero();
  const std::vector<T> zeros = t.to_host<T>();
  REQUIRE(std::memcmp(zeros.data(), std::vector<T>(300).data(), t.bytes()) == 0);
}

TEST_CASE("copies from and to the host keep their place among the kernels", "[tensor]") {
  const Device device = GENERATE(from_range(testing::devices()));
  // More than the GPU's backend has slots for, and in parts of uneven size.
  constexpr std::int64_t kCount = (std::int64_t{5} << 20) + 3;  // 20 MiB
  std::vector<float> host(kCount);
  const Tensor value({kCount}, DType::f32, device),
      sum = Tensor::zeros({kCount}, DType::f32, device);
  std::vector<std::unique_ptr<PendingFloat>> last;
  for (int round = 1; round <= 4; ++round) {
    for (std::int64_t i = 0; i < kCount; ++i) host[std::size_t(i)] = float(round * (i % 7 + 1));
    value.copy_from(std::span<const float>(host));
    // The host's array is free again, whatever the device has done by now.
    std::fill(host.begin(), host.end(), -1.0f);
    launch(device, Add<float>{.x = value.data<float>(), .y = sum.data<float>(), .n = kCount});
    last.push_back(backend(device).read_later(sum.data<float>() + kCount - 1));
  }
  const std::vector<float> total = sum.to_host<float>();
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < kCount; ++i)
    wrong += total[std::size_t(i)] != float(10 * (i % 7 + 1));
  REQUIRE(wrong == 0);
  for (int round = 1, sum_of_rounds = 0; round <= 4; ++round) {
    sum_of_rounds += round;
    REQUIRE(last[std::size_t(round - 1)]->wait() == float(sum_of_rounds * ((kCount - 1) % 7 + 1)));
  }
}

TEST_CASE("floats of any width are read as float or double, integers aren't", "[tensor]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const std::vector<float> exact{1, -0.5f, 96, 0};
  const auto as = [&](auto type) {
    using T = decltype(type);
    std::vector<T> values;
    for (const float x : exact) {
      if constexpr (std::is_same_v<T, double>) {
        values.push_back(double(x));
      } else {
        values.push_back(from_float<T>(x));
      }
    }
    return Tensor::from(values, {4}, device);
  };
  for (const Tensor& t : {as(float()), as(double()), as(bf16()), as(f16())}) {
    REQUIRE(t.to_host<float>() == exact);
    REQUIRE(t.to_host<double>() == std::vector<double>(exact.begin(), exact.end()));
  }
  const Tensor integers = Tensor::zeros({4}, DType::i32, device);
  REQUIRE_THROWS_WITH(integers.to_host<float>(),
                      Catch::Contains("a tensor of i32 can't be read as f32"));
  REQUIRE_THROWS_WITH(as(float()).to_host<std::int32_t>(),
                      Catch::Contains("f32 can't be read as i32"));
}

TEST_CASE("views share the Storage, clones don't", "[tensor]") {
  const Device device = GENERATE(from_range(testing::devices()));
  std::vector<float> values(24);
  std::iota(values.begin(), values.end(), 0.0f);
  Tensor t = Tensor::from(values, {4, 6}, device);
  REQUIRE(t.unique());
  t.want_gradient();

  const Tensor reshaped = t.reshaped({2, 3, 4});
  REQUIRE(reshaped.raw() == t.raw());
  REQUIRE(reshaped.gradient() == t.gradient());
  REQUIRE(reshaped.shape() == Shape{2, 3, 4});
  REQUIRE_FALSE(t.unique());

  const Tensor part = t.part(6, {2, 3});
  REQUIRE(part.raw() == t.raw() + 24);
  REQUIRE_FALSE(part.gradient());
  REQUIRE(part.to_host<float>() == std::vector<float>{6, 7, 8, 9, 10, 11});
  const Tensor part_of_part = part.part(4, {2});
  REQUIRE(part_of_part.to_host<float>() == std::vector<float>{10, 11});

  const Tensor copy = t.clone();
  REQUIRE(copy.unique());
  REQUIRE_FALSE(copy.gradient());
  REQUIRE(copy.shape() == t.shape());
  part.copy_from(Tensor::from(std::vector<float>(6, -1), {6}, device));
  const std::vector<float> now = t.to_host<float>();
  REQUIRE((now[5] == 5 && now[6] == -1 && now[11] == -1 && now[12] == 12));
  REQUIRE(copy.to_host<float>() == values);

  const Tensor constant = t.detached();
  REQUIRE(constant.raw() == t.raw());
  REQUIRE_FALSE(constant.gradient());
  REQUIRE(t.gradient());
}

TEST_CASE("empty tensors and tensors without elements", "[tensor]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const Tensor none;
  REQUIRE_FALSE(none);
  const Tensor nothing({0, 5}, DType::f32, device);
  REQUIRE(nothing);
  REQUIRE(nothing.bytes() == 0);
  REQUIRE(nothing.to_host<float>().empty());
  REQUIRE(nothing.clone().count() == 0);
  const Tensor scalar = Tensor::from(std::vector<float>{3}, {}, device);
  REQUIRE(scalar.to_host<float>() == std::vector<float>{3});
}

TEMPLATE_TEST_CASE("gradients add up without changing what was added", "[tensor]", float, bf16) {
  using T = TestType;
  const Device device = GENERATE(from_range(testing::devices()));
  const auto constant = [&](float x) {
    return Tensor::from(std::vector<T>(70, from_float<T>(x)), {70}, device);
  };
  Tensor t = constant(0);
  REQUIRE_FALSE(t.gradient());
  t.want_gradient();
  REQUIRE_FALSE(t.gradient()->value());
  REQUIRE_FALSE(t.gradient()->take());

  const Tensor one = constant(1), two = constant(2), four = constant(4);
  t.gradient()->add(one);
  REQUIRE(t.gradient()->value().raw() == one.raw());  // kept as it is
  t.gradient()->add(two);
  const std::byte* own = t.gradient()->value().raw();
  REQUIRE(own != one.raw());
  t.gradient()->add(four);
  REQUIRE(t.gradient()->value().raw() == own);  // in place from now on
  REQUIRE(one.to_host<float>() == std::vector<float>(70, 1));
  REQUIRE(two.to_host<float>() == std::vector<float>(70, 2));
  const Tensor sum = t.gradient()->take();
  REQUIRE(sum.to_host<float>() == std::vector<float>(70, 7));
  REQUIRE_FALSE(t.gradient()->value());
}

TEST_CASE("activations are f32, bf16 or f16", "[tensor]") {
  REQUIRE(with_activation_type(DType::f32, [](auto t) { return sizeof(t); }) == 4);
  REQUIRE(with_activation_type(DType::bf16, [](auto t) { return sizeof(t); }) == 2);
  REQUIRE(with_activation_type(DType::f16, [](auto t) { return sizeof(t); }) == 2);
  REQUIRE_THROWS_WITH(with_activation_type(DType::f64, [](auto) {}),
                      Catch::Contains("activations are f32, bf16 or f16, not f64"));
}

}  // namespace
}  // namespace hh
