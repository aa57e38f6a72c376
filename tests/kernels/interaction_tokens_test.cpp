// SPDX-License-Identifier: Apache-2.0
#include "kernels/interaction/interaction_tokens.h"

#include <catch2/catch.hpp>

#include "kernels/core/parallel.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::normal, testing::unit, testing::Worst;

TEMPLATE_TEST_CASE("interaction_tokens agrees with its definition", "[interaction]", float, bf16,
                   f16) {
  using T = TestType;
  const std::vector<Device> devices = testing::devices_of<T>();
  if (devices.empty()) return;
  const Device device = GENERATE_COPY(from_range(devices));
  const int m = GENERATE(1, 4, 9, 16, 64);
  const int c = GENERATE(1, 3, 16, 32, 127, 512);
  const int images = GENERATE(0, 1, 5);
  const int threads = GENERATE(1, 3);
  CAPTURE(device, m, c, images, threads);
  cpu::set_num_threads(threads);
  const std::size_t size = std::size_t(m) * std::size_t(c), n = size * std::size_t(images);
  const auto z = normal<T>(n, 1), dtokens = normal<T>(n, 2);
  const auto pos = normal(size, 3), before = normal(size, 4);
  const std::vector<T> unwritten(n, from_float<T>(NAN));
  const Array z_array(device, z), dtokens_array(device, dtokens), tokens_array(device, unwritten),
      dz_array(device, unwritten);
  const Array pos_array(device, pos), dpos_array(device, before);
  testing::run(device, InteractionTokensForward<T>{.z = z_array.data(),
                                                   .pos = pos_array.data(),
                                                   .tokens = tokens_array.data(),
                                                   .images = images,
                                                   .positions = m,
                                                   .channels = c});
  testing::run(device, InteractionTokensBackward<T>{.dtokens = dtokens_array.data(),
                                                    .dz = dz_array.data(),
                                                    .dpos = dpos_array.data(),
                                                    .images = images,
                                                    .positions = m,
                                                    .channels = c});
  cpu::set_num_threads(0);
  const auto tokens = tokens_array.host(), dz = dz_array.host();
  const auto dpos = dpos_array.host();

  std::size_t wrong_tokens = 0, wrong_dz = 0;
  std::vector<double> sum(before.begin(), before.end()), magnitude(size);
  for (std::size_t f = 0; f < size; ++f) magnitude[f] = std::abs(before[f]);
  for (int b = 0; b < images; ++b) {
    for (int t = 0; t < m; ++t) {
      for (int ch = 0; ch < c; ++ch) {
        const std::size_t f = std::size_t(t * c + ch), image = std::size_t(b) * size;
        const std::size_t at = image + (f % std::size_t(m)) * std::size_t(c) + f / std::size_t(m);
        // One addition and one move: nothing to tolerate.
        const float want = to_float(from_float<T>(to_float(z[at]) + pos[f]));
        if (to_float(tokens[image + f]) != want) ++wrong_tokens;
        if (to_float(dz[at]) != to_float(dtokens[image + f])) ++wrong_dz;
        sum[f] += to_float(dtokens[image + f]);
        magnitude[f] += std::abs(to_float(dtokens[image + f]));
      }
    }
  }
  REQUIRE(wrong_tokens == 0);
  REQUIRE(wrong_dz == 0);
  // B additions in any order err by at most B units of the sum of magnitudes.
  Worst worst;
  for (std::size_t f = 0; f < size; ++f) {
    worst.see(dpos[f] - sum[f], images * unit<float>() * magnitude[f], f);
  }
  CAPTURE(worst.index);
  REQUIRE(worst.ratio <= 1);
}

TEST_CASE("interaction_tokens of more images than a grid has rows", "[interaction]") {
  const Device device = GENERATE(from_range(testing::devices()));
  CAPTURE(device);
  constexpr int kImages = 65537, m = 2, c = 3;
  std::vector<float> z(std::size_t{kImages} * m * c);
  for (std::size_t i = 0; i < z.size(); ++i) z[i] = float(i % (m * c));  // each image the same
  const Array z_array(device, z), to_array(device, std::vector<float>(z.size(), NAN)),
      dz_array(device, std::vector<float>(z.size(), NAN));
  const Array pos_array(device, std::vector<float>(m * c)),
      dpos_array(device, std::vector<float>(m * c));
  testing::run(device, InteractionTokensForward<float>{.z = z_array.data(),
                                                       .pos = pos_array.data(),
                                                       .tokens = to_array.data(),
                                                       .images = kImages,
                                                       .positions = m,
                                                       .channels = c});
  testing::run(device, InteractionTokensBackward<float>{.dtokens = to_array.data(),
                                                        .dz = dz_array.data(),
                                                        .dpos = dpos_array.data(),
                                                        .images = kImages,
                                                        .positions = m,
                                                        .channels = c});
  CHECK(dz_array.host() == z);
}

TEST_CASE("interaction_tokens names what it refuses", "[interaction]") {
  REQUIRE_THROWS_WITH(
      cpu::run(InteractionTokensForward<float>{.images = 1, .positions = 65, .channels = 1}),
      Catch::Contains("positions = 65"));
  REQUIRE_THROWS_WITH(
      cpu::run(InteractionTokensBackward<float>{.images = 1, .positions = 4, .channels = 0}),
      Catch::Contains("channels = 0"));
  REQUIRE_THROWS_WITH(
      cpu::run(InteractionTokensForward<float>{.images = 1, .positions = 4, .channels = 1}),
      Catch::Contains("null"));
}

}  // namespace
}  // namespace hh
