// SPDX-License-Identifier: Apache-2.0
#include "kernels/hamming/pack_codes.h"

#include <catch2/catch.hpp>

#include "kernels/core/parallel.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array;

TEST_CASE("pack_codes agrees with its definition", "[hamming]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const int bits = GENERATE(1, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 120, 128, 136, 511, 512);
  const std::int64_t count = GENERATE(0, 1, 130);
  const int threads = GENERATE(1, 3);
  CAPTURE(device, bits, count, threads);
  cpu::set_num_threads(threads);
  const std::size_t n = std::size_t(count) * std::size_t(bits);
  auto values = testing::normal(n, 1);
  // What isn't above zero: both zeros, NaN, the least negative number.
  const float edges[] = {0.f, -0.f, NAN, -1e-45f, 1e-45f, INFINITY, -INFINITY};
  for (std::size_t i = 0; i < n; i += 3) values[i] = edges[i / 3 % 7];
  const std::size_t words = std::size_t(bits + 63) / 64;
  const Array in(device, values);
  const Array out(device,
                  std::vector<std::uint64_t>(std::size_t(count) * words, 0xa5a5a5a5a5a5a5a5u));
  testing::run(device,
               PackCodes{.values = in.data(), .words = out.data(), .count = count, .bits = bits});
  cpu::set_num_threads(0);
  std::vector<std::uint64_t> want(std::size_t(count) * words);
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t row = i / std::size_t(bits), j = i % std::size_t(bits);
    if (values[i] > 0) want[row * words + j / 64] |= std::uint64_t{1} << (j % 64);
  }
  REQUIRE(out.host() == want);
}

TEST_CASE("pack_codes names what it refuses", "[hamming]") {
  REQUIRE_THROWS_WITH(cpu::run(PackCodes{.count = 1, .bits = 513}), Catch::Contains("bits = 513"));
  REQUIRE_THROWS_WITH(cpu::run(PackCodes{.count = 1, .bits = 0}), Catch::Contains("bits = 0"));
  REQUIRE_THROWS_WITH(cpu::run(PackCodes{.count = -1, .bits = 8}), Catch::Contains("count = -1"));
  REQUIRE_THROWS_WITH(cpu::run(PackCodes{.count = 1, .bits = 8}), Catch::Contains("null"));
}

}  // namespace
}  // namespace hh
