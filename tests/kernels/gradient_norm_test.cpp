// SPDX-License-Identifier: Apache-2.0
#include "kernels/optimizer/gradient_norm.h"

#include <catch2/catch.hpp>

#include "kernels/core/parallel.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::normal;
constexpr double kUnit = testing::unit<float>();

struct Result {
  float norm, scale;
  std::int32_t skip;
  bool operator==(const Result&) const = default;
};

Result run(Device device, const std::vector<float>& gradient, float inverse_loss_scale = 1,
           float max_norm = 0) {
  const auto n = std::int64_t(gradient.size());
  const std::int64_t chunks = GradientSquares::chunks(n);
  const Array g(device, gradient), norm(device, std::vector<float>{NAN}),
      scale(device, std::vector<float>{NAN});
  const Array squares(device, std::vector<double>(std::size_t(chunks), NAN));
  const Array skip(device, std::vector<std::int32_t>{-1});
  testing::run(device, GradientSquares{.gradient = g.data(), .n = n, .squares = squares.data()});
  testing::run(device, GradientNorm{.squares = squares.data(),
                                    .chunks = chunks,
                                    .inverse_loss_scale = inverse_loss_scale,
                                    .max_norm = max_norm,
                                    .norm = norm.data(),
                                    .scale = scale.data(),
                                    .skip = skip.data()});
  return {norm.host()[0], scale.host()[0], skip.host()[0]};
}

TEST_CASE("gradient_norm agrees with its definition", "[optimizer]") {
  const Device device = GENERATE(from_range(testing::devices()));
  // Around the vectors and the chunks of 65,536.
  const std::size_t n = GENERATE(0, 1, 7, 31, 33, 1000, 65535, 65536, 65537, 140000);
  const float size = GENERATE(1e-30f, 1.0f, 1e30f);  // their squares aren't float32
  CAPTURE(device, n, size);
  const auto g = normal(n, 1, 0, size);
  double sum = 0;
  for (const float x : g) sum += double(x) * double(x);
  const double want = 0.25 * std::sqrt(sum);

  cpu::set_num_threads(1);
  const Result got = run(device, g, 0.25f);
  cpu::set_num_threads(3);
  const Result three = run(device, g, 0.25f);
  cpu::set_num_threads(0);
  REQUIRE(three == got);
  // Rounded once from float64, whose own error is far below.
  REQUIRE(std::abs(got.norm - want) <= 1.001 * kUnit * want);
  REQUIRE(got.scale == 0.25f);
  REQUIRE(got.skip == 0);

  if (n == 0) return;
  const Result loose = run(device, g, 0.25f, float(want * 1.5));
  REQUIRE(loose == got);
  const Result tight = run(device, g, 0.25f, float(want / 3));
  REQUIRE(tight.norm == got.norm);
  // max_norm was rounded, and so is the result.
  REQUIRE(std::abs(tight.scale - 0.25 / 3) <= 2.001 * kUnit * 0.25 / 3);
}

TEST_CASE("gradient_norm asks to skip what isn't finite", "[optimizer]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const float bad = GENERATE(NAN, INFINITY, -INFINITY);
  const std::size_t at = GENERATE(0, 65536, 69999);
  auto g = normal(70000, 1);
  REQUIRE(run(device, g).skip == 0);
  g[at] = bad;
  const Result got = run(device, g, 1, 1);
  REQUIRE(got.skip == 1);
  REQUIRE_FALSE(std::isfinite(got.norm));
}

TEST_CASE("gradient_squares of parts at chunks' borders are those of the whole", "[optimizer]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const std::int64_t n = 3 * GradientSquares::kChunk + 1001;
  const Array g(device, normal(std::size_t(n), 1));
  const auto squares_of = [&](std::int64_t begin, std::int64_t end) {
    const Array squares(
        device, std::vector<double>(std::size_t(GradientSquares::chunks(end - begin)), NAN));
    testing::run(
        device,
        GradientSquares{.gradient = g.data() + begin, .n = end - begin, .squares = squares.data()});
    return squares.host();
  };
  const std::vector<double> whole = squares_of(0, n);
  REQUIRE(whole.size() == 4);
  std::vector<double> parts = squares_of(0, 2 * GradientSquares::kChunk);
  for (const double v : squares_of(2 * GradientSquares::kChunk, n)) parts.push_back(v);
  REQUIRE(parts == whole);
  // Off a 16-byte boundary it is the same sum in another order.
  const std::vector<float> values = g.host();
  double want = 0;
  for (std::size_t i = 1; i < 1001; ++i) want += double(values[i]) * double(values[i]);
  REQUIRE(squares_of(1, 1001)[0] == Approx(want).epsilon(1e-13));  // 1,000 float64 additions
}

TEST_CASE("gradient_norm names what it refuses", "[optimizer]") {
  float x = 0;
  double square = 0;
  std::int32_t skip = 0;
  const auto refuses = [](const auto& p, const char* why) {
    REQUIRE_THROWS_WITH(cpu::run(p), Catch::Contains(why));
  };
  refuses(GradientSquares{.gradient = &x, .n = -1, .squares = &square}, "n = -1");
  refuses(GradientSquares{.n = 1, .squares = &square}, "null");
  refuses(GradientSquares{.gradient = &x, .n = 1}, "null");
  const GradientNorm good{.squares = &square, .chunks = 1, .norm = &x, .scale = &x, .skip = &skip};
  GradientNorm p = good;
  p.chunks = -1;
  refuses(p, "chunks = -1");
  p = good;
  p.inverse_loss_scale = 0;
  refuses(p, "inverse_loss_scale = 0");
  p.inverse_loss_scale = INFINITY;
  refuses(p, "inverse_loss_scale = inf");
  p = good;
  p.max_norm = -1;
  refuses(p, "max_norm = -1");
  p = good;
  p.squares = nullptr;
  refuses(p, "null");
  p = good;
  p.skip = nullptr;
  refuses(p, "null");
}

}  // namespace
}  // namespace hh
