// SPDX-License-Identifier: Apache-2.0
#include "kernels/random/drop_path_scale.h"

#include <catch2/catch.hpp>

#include "tests/support/device.h"

namespace hh {
namespace {

using testing::Array;

std::vector<float> scales(Device device, const std::vector<float>& rate, int images,
                          std::uint64_t seed, std::uint64_t step, int first = 0) {
  const Array scale(device, std::vector<float>(rate.size() * std::size_t(images), NAN));
  testing::run(device, DropPathScale{.rate = rate.data(),
                                     .scale = scale.data(),
                                     .rows = int(rate.size()),
                                     .images = images,
                                     .first = first,
                                     .seed = seed,
                                     .step = step});
  return scale.host();
}

TEST_CASE("drop_path_scale follows its draws", "[random]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const int images = GENERATE(0, 1, 3, 4, 5, 64, 130);
  const std::uint64_t step = GENERATE(0, 1, 77777);
  CAPTURE(device, images, step);
  const std::vector<float> rate{0, 0.25f, 0.5f, 0.1f, 0.999f};
  const std::vector<float> got = scales(device, rate, images, 42, step);
  std::vector<float> want;
  for (std::size_t r = 0; r < rate.size(); ++r) {
    const Philox random(42, RandomPurpose::kDropPath, std::uint32_t(r));
    for (int b = 0; b < images; ++b) {
      const float draw = random.uniform((step << 32) + std::uint64_t(b));
      want.push_back(draw < rate[r] ? 0 : 1 / (1 - rate[r]));
    }
  }
  REQUIRE(got == want);
}

TEST_CASE("drop_path_scale: rate 0 keeps all, others drop their share", "[random]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const int n = 20000;
  const std::vector<float> rate{0, 0.1f, 0.5f};
  const std::vector<float> got = scales(device, rate, n, 7, 3);
  for (std::size_t r = 0; r < rate.size(); ++r) {
    double dropped = 0;
    for (int b = 0; b < n; ++b) dropped += got[r * std::size_t(n) + std::size_t(b)] == 0;
    CAPTURE(rate[r], dropped);
    // Five standard deviations of a binomial distribution.
    const double p = double(rate[r]);
    REQUIRE(std::abs(dropped - p * n) <= 5 * std::sqrt(n * p * (1 - p)));
  }
}

TEST_CASE("drop_path_scale: an image's draws don't depend on the batch, seeds and steps differ",
          "[random]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const std::vector<float> rate{0.5f};
  const std::vector<float> many = scales(device, rate, 100, 1, 5);
  std::vector<float> few = scales(device, rate, 30, 1, 5);
  REQUIRE(std::equal(few.begin(), few.end(), many.begin()));
  REQUIRE(scales(device, rate, 100, 1, 6) != many);
  REQUIRE(scales(device, rate, 100, 2, 5) != many);
  // Rows have streams of their own.
  const std::vector<float> two = scales(device, {0.5f, 0.5f}, 100, 1, 5);
  REQUIRE(std::vector<float>(two.begin(), two.begin() + 100) == many);
  REQUIRE(std::vector<float>(two.begin() + 100, two.end()) != many);
}

TEST_CASE("drop_path_scale: a slice of a batch has the batch's draws", "[random]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const int first = GENERATE(0, 1, 2, 3, 4, 5, 62);
  const int images = GENERATE(0, 1, 2, 3, 4, 5, 33);
  CAPTURE(device, first, images);
  const std::vector<float> rate{0.5f, 0.1f};
  const std::vector<float> all = scales(device, rate, 100, 1, 5);
  const std::vector<float> slice = scales(device, rate, images, 1, 5, first);
  for (std::size_t r = 0; r < rate.size(); ++r) {
    const auto row = all.begin() + std::ptrdiff_t(r) * 100 + first;
    REQUIRE(std::equal(row, row + images, slice.begin() + std::ptrdiff_t(r) * images));
  }
}

TEST_CASE("drop_path_scale names what it refuses", "[random]") {
  std::vector<float> scale(4), rate{0.5f, 1.0f};
  REQUIRE_THROWS_WITH(cpu::run(DropPathScale{.rows = -1}), Catch::Contains("rows = -1"));
  REQUIRE_THROWS_WITH(cpu::run(DropPathScale{.images = -1}), Catch::Contains("images = -1"));
  REQUIRE_THROWS_WITH(cpu::run(DropPathScale{.first = -1}), Catch::Contains("first = -1"));
  REQUIRE_THROWS_WITH(cpu::run(DropPathScale{.rows = 2, .images = 2}), Catch::Contains("null"));
  DropPathScale p{.rate = rate.data(), .scale = scale.data(), .rows = 2, .images = 2};
  REQUIRE_THROWS_WITH(cpu::run(p), Catch::Contains("rate[1] = 1"));
  rate[1] = -0.5f;
  REQUIRE_THROWS_WITH(cpu::run(p), Catch::Contains("rate[1] = -0.5"));
  rate[1] = NAN;
  REQUIRE_THROWS_WITH(cpu::run(p), Catch::Contains("rate[1] = "));
}

}  // namespace
}  // namespace hh
