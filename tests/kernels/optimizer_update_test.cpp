// SPDX-License-Identifier: Apache-2.0
#include "kernels/optimizer/optimizer_update.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "kernels/core/parallel.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::normal, testing::Worst;
constexpr double kUnit = testing::unit<float>();

constexpr float kRate = 0.01f, kScale = 0.3f;

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

/// Flat arrays of parameters with gaps of NaN between and behind them.
struct Arrays {
  std::vector<OptimizerSegment> segments;
  std::vector<float> weight, gradient, mean, square;
  std::vector<bf16> copy;

  explicit Arrays(const std::vector<std::int64_t>& counts) {
    std::int64_t begin = 3;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      segments.push_back(
          {.begin = begin, .count = counts[i], .weight_decay = i % 2 == 0 ? 0.1f : 0.0f});
      begin += counts[i] + std::int64_t(i % 3);
    }
    const auto n = std::size_t(begin + 5);
    weight = gradient = mean = square = std::vector<float>(n, NAN);
    copy.assign(n, from_float<bf16>(NAN));
    const auto w = normal(n, 1), g = normal(n, 2, 0, 3), m = normal(n, 3), v = normal(n, 4);
    for_each([&](std::size_t i, double) {
      weight[i] = w[i];
      // Some gradients are 0 and some averages too, as in unused parts of a network; some tiny.
      gradient[i] = i % 7 == 0 ? 0 : i % 5 == 0 ? g[i] * 1e-12f : g[i];
      mean[i] = i % 3 == 0 ? 0 : m[i];
      square[i] = i % 3 == 0 ? 0 : v[i] * v[i];
    });
  }

  template <class F>
  void for_each(F f) const {
    for (const OptimizerSegment& s : segments) {
      for (std::int64_t i = s.begin; i < s.begin + s.count; ++i) {
        f(std::size_t(i), double(s.weight_decay));
      }
    }
  }
};

/// The arrays after `make(arrays, mean, square)`, the arguments of an optimiser, ran.
template <class MakeArgs>
Arrays updated(Device device, Arrays a, std::int32_t skip, bool with_copy, MakeArgs make) {
  const Array weight(device, a.weight), gradient(device, a.gradient), mean(device, a.mean),
      square(device, a.square), scale(device, std::vector<float>{kScale});
  const Array copy(device, a.copy);
  const Array skips(device, std::vector<std::int32_t>{skip});
  const OptimizerArrays arrays{.weight = weight.data(),
                               .gradient = gradient.data(),
                               .copy = with_copy ? copy.data() : nullptr,
                               .segments = a.segments.data(),
                               .segment_count = int(a.segments.size()),
                               .scale = scale.data(),
                               .skip = skips.data(),
                               .learning_rate = kRate};
  testing::run(device, make(arrays, mean.data(), square.data()));
  a.weight = weight.host();
  a.mean = mean.host();
  a.square = square.host();
  a.copy = copy.host();
  return a;
}

/// One element after a step in float64, and bounds on the errors of float32.
struct Element {
  double weight, mean, square;
  double weight_bound, mean_bound, square_bound;
};

/// Checks an optimiser against `exact(w, g, m, v, wd)`, g before scaling.
template <class MakeArgs, class Exact>
void check(Device device, const std::vector<std::int64_t>& counts, MakeArgs make, Exact exact) {
  const Arrays before(counts);
  cpu::set_num_threads(1);
  const Arrays after = updated(device, before, 0, true, make);
  cpu::set_num_threads(3);
  const Arrays three = updated(device, before, 0, true, make);
  cpu::set_num_threads(0);

  Arrays outside = after;  // with the segments put back: only the gaps are after's
  Worst weight, mean, square;
  std::size_t wrong_copies = 0;
  before.for_each([&](std::size_t i, double decay) {
    const Element want =
        exact(before.weight[i], before.gradient[i], before.mean[i], before.square[i], decay);
    weight.see(after.weight[i] - want.weight, want.weight_bound, i);
    mean.see(after.mean[i] - want.mean, want.mean_bound, i);
    square.see(after.square[i] - want.square, want.square_bound, i);
    wrong_copies += after.copy[i].bits != from_float<bf16>(after.weight[i]).bits;
    outside.weight[i] = before.weight[i];
    outside.mean[i] = before.mean[i];
    outside.square[i] = before.square[i];
    outside.copy[i] = before.copy[i];
  });
  CAPTURE(weight.index, mean.index, square.index);
  REQUIRE(weight.ratio <= 1);
  REQUIRE(mean.ratio <= 1);
  REQUIRE(square.ratio <= 1);
  REQUIRE(wrong_copies == 0);
  const auto same = [](const Arrays& a, const Arrays& b) {
    return same_bits(a.weight, b.weight) && same_bits(a.mean, b.mean) &&
           same_bits(a.square, b.square) && same_bits(a.copy, b.copy);
  };
  REQUIRE(same(outside, before));  // the gaps weren't touched
  REQUIRE(same(three, after));
  REQUIRE(same(updated(device, before, 1, true, make), before));  // skipped
  const Arrays no_copy = updated(device, before, 0, false, make);
  REQUIRE(same_bits(no_copy.weight, after.weight));
  REQUIRE(same_bits(no_copy.copy, before.copy));
}

std::vector<std::int64_t> counts_for(Device device, bool large) {
  // 50,000 elements are shared among three threads, cut inside segments.
  if (large && device == kCpu) return {20000, 5, 29000, 1000};
  return {1, 7, 0, 16, 33, 64, 100};
}

TEST_CASE("rmsprop_update agrees with its formula", "[optimizer]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const bool large = GENERATE(false, true);
  const float rho = 0.99f, eps = 1e-8f;
  check(
      device, counts_for(device, large),
      [&](const OptimizerArrays& arrays, float*, float* square) {
        return RmspropUpdate{.arrays = arrays, .square = square, .rho = rho, .eps = eps};
      },
      [&](double w, double g, double m, double v, double wd) {
        const double scaled = double(kScale) * g, fresh = 1 - double(rho);
        const double sum = scaled + wd * w;
        // Two roundings of each term and one of the sum.
        const double sum_bound = 3 * kUnit * (std::abs(scaled) + std::abs(wd * w));
        const double v1 = double(rho) * v + fresh * sum * sum;
        // Five roundings, and the square of a sum that is off.
        const double v_bound = 5 * kUnit * v1 + fresh * sum_bound * (2 * std::abs(sum) + sum_bound);
        const double spread = std::sqrt(v1) + double(eps);
        const double step = double(kRate) * sum / spread;
        // The root halves v's relative error; rounding it, +, * and / cost four units.
        const double step_bound = double(kRate) * sum_bound / spread +
                                  std::abs(step) * (5 * kUnit + (v1 > 0 ? v_bound / v1 : 0));
        return Element{.weight = w - step,
                       .mean = m,
                       .square = v1,
                       .weight_bound = step_bound + kUnit * std::abs(w - step),
                       .mean_bound = 0,
                       .square_bound = v_bound};
      });
}

TEST_CASE("adamw_update agrees with its formula", "[optimizer]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const bool large = GENERATE(false, true);
  const std::int64_t t = GENERATE(1, 2, 1000, 1000000);
  CAPTURE(t);
  const float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;
  check(
      device, counts_for(device, large),
      [&](const OptimizerArrays& arrays, float* mean, float* square) {
        return AdamwUpdate{.arrays = arrays,
                           .mean = mean,
                           .square = square,
                           .beta1 = beta1,
                           .beta2 = beta2,
                           .eps = eps,
                           .step = t};
      },
      [&](double w, double g, double m, double v, double wd) {
        const double scaled = double(kScale) * g, b1 = double(beta1), b2 = double(beta2);
        const double m1 = b1 * m + (1 - b1) * scaled, v1 = b2 * v + (1 - b2) * scaled * scaled;
        const double m_bound = 4 * kUnit * (b1 * std::abs(m) + (1 - b1) * std::abs(scaled));
        const double v_bound = 7 * kUnit * v1;
        const double c1 = 1 - std::pow(b1, double(t)), c2 = 1 - std::pow(b2, double(t));
        const double spread = std::sqrt(v1 / c2) + double(eps);
        const double decayed = w - double(kRate) * wd * w;
        const double step = double(kRate) * (m1 / c1) / spread;
        // The root halves the 7 + 2 units of v / c2; lr / c1, root, +, * and / cost one each.
        const double step_bound =
            double(kRate) * (m_bound / c1) / spread + std::abs(step) * 10 * kUnit;
        return Element{
            .weight = decayed - step,
            .mean = m1,
            .square = v1,
            .weight_bound = step_bound + kUnit * (2 * std::abs(decayed) + std::abs(decayed - step)),
            .mean_bound = m_bound,
            .square_bound = v_bound};
      });
}

TEST_CASE("sgd_update agrees with its formula", "[optimizer]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const bool large = GENERATE(false, true);
  const float momentum = GENERATE(0.0f, 0.9f);
  check(
      device, counts_for(device, large),
      [&](const OptimizerArrays& arrays, float* mean, float*) {
        return SgdUpdate{.arrays = arrays, .momentum_buffer = mean, .momentum = momentum};
      },
      [&](double w, double g, double m, double v, double wd) {
        const double scaled = double(kScale) * g, old = double(momentum) * m;
        const double m1 = old + scaled + wd * w;
        // At most four roundings on the way of each term.
        const double m_bound = 4 * kUnit * (std::abs(old) + std::abs(scaled) + std::abs(wd * w));
        const double w1 = w - double(kRate) * m1;
        return Element{
            .weight = w1,
            .mean = m1,
            .square = v,
            .weight_bound = double(kRate) * (m_bound + kUnit * std::abs(m1)) + kUnit * std::abs(w1),
            .mean_bound = m_bound,
            .square_bound = 0};
      });
}

TEST_CASE("optimizer updates: scale and skip may be null, segments may be none", "[optimizer]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const OptimizerSegment segment{.begin = 0, .count = 2};
  const Array weight(device, std::vector<float>{1, 2}), gradient(device, std::vector<float>{1, -1}),
      buffer(device, std::vector<float>{0, 0});
  SgdUpdate p{.arrays = {.weight = weight.data(),
                         .gradient = gradient.data(),
                         .segments = &segment,
                         .segment_count = 1,
                         .learning_rate = 0.5f},
              .momentum_buffer = buffer.data()};
  testing::run(device, p);
  REQUIRE(weight.host() == std::vector<float>{0.5f, 2.5f});
  p.arrays.segment_count = 0;
  testing::run(device, p);
  REQUIRE(weight.host() == std::vector<float>{0.5f, 2.5f});
}

TEST_CASE("optimizer updates name what they refuse", "[optimizer]") {
  float x[4] = {};
  const OptimizerSegment overlapping[] = {{.begin = 0, .count = 2}, {.begin = 1, .count = 1}};
  OptimizerArrays arrays{.weight = x, .gradient = x, .segments = overlapping, .segment_count = 1};
  const auto refuses = [&](auto change, const char* why) {
    OptimizerArrays a = arrays;
    change(a);
    REQUIRE_THROWS_WITH(cpu::run(RmspropUpdate{.arrays = a, .square = x}), Catch::Contains(why));
    REQUIRE_THROWS_WITH(cpu::run(AdamwUpdate{.arrays = a, .mean = x, .square = x}),
                        Catch::Contains(why));
    REQUIRE_THROWS_WITH(cpu::run(SgdUpdate{.arrays = a, .momentum_buffer = x}),
                        Catch::Contains(why));
  };
  refuses([](auto& a) { a.segment_count = 2; }, "segment 1 of 1 elements begins at 1");
  refuses([](auto& a) { a.segment_count = -1; }, "segment_count = -1");
  refuses([](auto& a) { a.learning_rate = -1; }, "learning_rate = -1");
  refuses([](auto& a) { a.segments = nullptr; }, "segments is null");
  refuses([](auto& a) { a.gradient = nullptr; }, "array is null");
  REQUIRE_THROWS_WITH(cpu::run(RmspropUpdate{.arrays = arrays}), Catch::Contains("array is null"));
  REQUIRE_THROWS_WITH(cpu::run(RmspropUpdate{.arrays = arrays, .square = x, .rho = 1.5f}),
                      Catch::Contains("rho = 1.5"));
  REQUIRE_THROWS_WITH(cpu::run(RmspropUpdate{.arrays = arrays, .square = x, .eps = -1}),
                      Catch::Contains("eps = -1"));
  REQUIRE_THROWS_WITH(cpu::run(AdamwUpdate{.arrays = arrays, .mean = x, .square = x, .beta1 = 1}),
                      Catch::Contains("beta1 = 1"));
  REQUIRE_THROWS_WITH(cpu::run(AdamwUpdate{.arrays = arrays, .mean = x, .square = x, .beta2 = -1}),
                      Catch::Contains("beta2 = -1"));
  REQUIRE_THROWS_WITH(cpu::run(AdamwUpdate{.arrays = arrays, .mean = x, .square = x, .step = 0}),
                      Catch::Contains("step = 0"));
  REQUIRE_THROWS_WITH(cpu::run(SgdUpdate{.arrays = arrays, .momentum_buffer = x, .momentum = 1}),
                      Catch::Contains("momentum = 1"));
}

}  // namespace
}  // namespace hh
