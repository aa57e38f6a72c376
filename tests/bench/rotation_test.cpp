// SPDX-License-Identifier: Apache-2.0
#include "bench/support/rotation.h"

#include <catch2/catch.hpp>
#include <set>

#include "bench/support/harness.h"
#include "bench/support/yardstick.h"
#include "kernels/elementwise/add.h"
#include "tests/support/device.h"

namespace hh::bench {
namespace {

struct Arguments {
  const float* x = nullptr;
  float* middle_of_y = nullptr;
  const float* none = nullptr;
  std::int64_t n = 0;
};

Rotation rotation_of(Device device, const Arguments& args, double bytes, const LentBlocks& lent) {
  return {device, std::as_bytes(std::span(&args, 1)), bytes, lent};
}

TEST_CASE("sets of a rotation have arrays of their own with the same values", "[bench][devices]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const LentBlocks lent;
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3}, {3}, device);
  const Tensor y = Tensor::from(std::vector<float>{4, 5, 6}, {3}, device);
  const Arguments args{.x = x.data<float>(), .middle_of_y = y.data<float>() + 1, .n = 7};
  const Rotation rotation = rotation_of(device, args, 24, lent);
  REQUIRE(rotation.sets() == kMostSets);  // these are small
  CHECK_FALSE(rotation.beyond_caches());
  std::set<const float*> seen;
  for (std::size_t set = 0; set < rotation.sets(); ++set) {
    const Arguments at = rotation.at(set, args);
    CHECK(at.none == nullptr);
    CHECK(at.n == 7);
    seen.insert(at.x);
    seen.insert(at.middle_of_y);
    if (set % 100 != 1) continue;
    std::vector<float> values(2);
    backend(device).copy_to_host(values.data(), at.middle_of_y, 2 * sizeof(float));
    backend(device).synchronize();
    CHECK(values == std::vector<float>{5, 6});
  }
  CHECK(seen.size() == 2 * kMostSets);
  CHECK(rotation.at(0, args).x == args.x);
  CHECK(rotation.at(0, args).middle_of_y == args.middle_of_y);
}

TEST_CASE("a rotation of large arrays is as many sets as no cache holds", "[bench]") {
  const LentBlocks lent;
  const Tensor x({20 << 20}, DType::f32, kCpu);
  const Arguments args{.x = x.data<float>(), .n = 1};
  const Rotation rotation = rotation_of(kCpu, args, 80 << 20, lent);
  CHECK(rotation.sets() == 5);
  CHECK(rotation.beyond_caches());
  CHECK(rotation_of(kCpu, args, 1e9, lent).sets() == 1);  // most of it is named elsewhere
}

TEST_CASE("only arrays that live are copied", "[bench]") {
  const LentBlocks lent;
  Arguments args;
  {
    const Tensor gone({100}, DType::f32, kCpu);
    args.x = gone.data<float>();
    CHECK(lent.holding(gone.raw() + 399, kCpu).has_value());
    CHECK_FALSE(lent.holding(gone.raw() + 400, kCpu).has_value());
    CHECK_FALSE(lent.holding(gone.raw(), {DeviceKind::kCuda, 0}).has_value());
    const LentBlocks inner;
    CHECK_FALSE(inner.holding(gone.raw(), kCpu).has_value());
  }
  CHECK(rotation_of(kCpu, args, 100, lent).sets() == 1);
}

TEST_CASE("calls of a sample are each made as often as the others", "[bench][devices]") {
  for (const Device device : testing::devices()) {
    if (device == kCpu) continue;
    const LentBlocks lent;
    const Tensor one = Tensor::from(std::vector<float>(64, 1), {64}, device);
    const Tensor sum = Tensor::zeros({64}, DType::f32, device);
    const Add<float> args{.x = one.data<float>(), .y = sum.data<float>(), .n = 64};
    const Rotation rotation(device, std::as_bytes(std::span(&args, 1)), 512, lent);
    Calls calls;
    for (std::size_t set = 0; set < 3; ++set) {
      calls.each.push_back(prepared(device, rotation.at(set, args)));
    }
    CHECK(sample(device, {0, 4, 4, false}, calls).size() == 4);
    std::set<float> sums;
    for (std::size_t set = 0; set < 3; ++set) {
      float value = 0;
      backend(device).copy_to_host(&value, rotation.at(set, args).y, sizeof value);
      backend(device).synchronize();
      sums.insert(value);
    }
    CHECK(sums.size() == 1);
    CHECK(*sums.begin() >= 4);
  }
}

}  // namespace
}  // namespace hh::bench
