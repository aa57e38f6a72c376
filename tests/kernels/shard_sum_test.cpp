// SPDX-License-Identifier: Apache-2.0
#include "kernels/optimizer/shard_sum.h"

#include <catch2/catch.hpp>

#include "kernels/core/parallel.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::normal;

TEST_CASE("shard_sum adds in the order of the ranks", "[optimizer]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const int ranks = GENERATE(1, 2, 3, 4, 5, 9);
  const int n = GENERATE(0, 1, 3, 4, 15, 16, 17, 1000, 70001);
  const int threads = GENERATE(1, 3);
  CAPTURE(device, ranks, n, threads);
  cpu::set_num_threads(threads);
  const auto parts = normal(std::size_t(ranks) * std::size_t(n), 1);
  const Array in(device, parts), out(device, std::vector<float>(std::size_t(n), NAN));
  testing::run(device, ShardSum{.parts = in.data(), .sum = out.data(), .ranks = ranks, .n = n});
  cpu::set_num_threads(0);
  // The same additions of float32 in the same order: nothing to tolerate.
  std::vector<float> want(parts.begin(), parts.begin() + n);
  for (int r = 1; r < ranks; ++r) {
    for (int i = 0; i < n; ++i) want[std::size_t(i)] += parts[std::size_t(r * n + i)];
  }
  REQUIRE(out.host() == want);
  REQUIRE(in.host() == parts);
}

TEST_CASE("shard_sum: another order is another sum", "[optimizer]") {
  const Device device = GENERATE(from_range(testing::devices()));
  // (1 + -1) + 2^-30 is 2^-30; (1 + 2^-30) + -1 is 0.
  for (const auto& [parts, want] : {std::pair{std::vector<float>{1, -1, 0x1p-30f}, 0x1p-30f},
                                    std::pair{std::vector<float>{1, 0x1p-30f, -1}, 0.0f}}) {
    const Array in(device, parts), out(device, std::vector<float>{NAN});
    testing::run(device, ShardSum{.parts = in.data(), .sum = out.data(), .ranks = 3, .n = 1});
    REQUIRE(out.host()[0] == want);
  }
}

TEST_CASE("shard_sum: arrays may begin anywhere", "[optimizer]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const auto parts = normal(2 * 40 + 1, 1);
  const Array in(device, parts), out(device, std::vector<float>(41, NAN));
  testing::run(device,
               ShardSum{.parts = in.data() + 1, .sum = out.data() + 1, .ranks = 2, .n = 40});
  const std::vector<float> got = out.host();
  REQUIRE(std::isnan(got[0]));
  for (std::size_t i = 0; i < 40; ++i) REQUIRE(got[i + 1] == parts[i + 1] + parts[i + 41]);
}

TEST_CASE("shard_sum names what it refuses", "[optimizer]") {
  float x = 0;
  const auto refuses = [](const ShardSum& p, const char* why) {
    REQUIRE_THROWS_WITH(cpu::run(p), Catch::Contains(why));
  };
  refuses({.parts = &x, .sum = &x, .ranks = 0, .n = 1}, "ranks = 0");
  refuses({.parts = &x, .sum = &x, .n = -1}, "n = -1");
  refuses({.sum = &x, .n = 1}, "null");
  refuses({.parts = &x, .n = 1}, "null");
}

}  // namespace
}  // namespace hh
