// SPDX-License-Identifier: Apache-2.0
#include "engine/optim/optimizer.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::normal, testing::Worst;
constexpr double kUnit = testing::unit<float>();

/// Three parameters with weights, and gradients that differ from step to step.
struct Model {
  Parameters parameters;
  std::vector<double> weights;  // of all parameters end to end
  std::vector<bool> matrix;

  Model(Device device, DType compute) {
    parameters.add("a.weight", {9, 7}, Initialisation::kNormal);
    parameters.add("a.bias", {9}, Initialisation::kZero);
    parameters.add("pos_embed", {1, 5, 4}, Initialisation::kNormal);
    parameters.place(device, compute, true);
    std::uint64_t seed = 1;
    for (const Parameter& p : parameters.all()) {
      const auto values = normal(std::size_t(p.shape().count()), seed++);
      parameters.set(p, values);
      weights.insert(weights.end(), values.begin(), values.end());
      matrix.insert(matrix.end(), values.size(), p.name() == "a.weight");
    }
    parameters.refresh_compute();
  }

  /// Puts a step's gradients where backward would, and returns them end to end.
  std::vector<float> set_gradients(int step) {
    std::vector<float> all;
    for (const Parameter& p : parameters.all()) {
      const auto g = normal(std::size_t(p.shape().count()), std::uint64_t(100 * step) + all.size());
      p.gradient().copy_from(std::span<const float>(g));
      all.insert(all.end(), g.begin(), g.end());
    }
    return all;
  }

  std::vector<float> current() const {
    std::vector<float> all;
    for (const Parameter& p : parameters.all()) {
      const auto w = p.weight().to_host<float>();
      all.insert(all.end(), w.begin(), w.end());
    }
    return all;
  }
};

double norm_of(const std::vector<float>& g) {
  double sum = 0;
  for (const float x : g) sum += double(x) * double(x);
  return std::sqrt(sum);
}

TEST_CASE("each optimiser follows a plain loop in double", "[optimizer]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const std::string kind = GENERATE("rmsprop", "adamw", "sgd");
  const DType compute = GENERATE(DType::f32, DType::bf16);
  const bool matrices_only = GENERATE(false, true);
  const float clip_norm = GENERATE(0.0f, 2.0f);
  CAPTURE(device, kind, name(compute), matrices_only, clip_norm);
  const OptimizerConfig config{.kind = kind,
                               .weight_decay = 0.1f,
                               .decay_matrices_only = matrices_only,
                               .clip_norm = clip_norm};
  Model model(device, compute);
  Optimizer optimizer(config, model.parameters);
  std::vector<double> w = model.weights, m(w.size()), v(w.size());
  const double rate = double(0.01f), half = 0.5;
  double moved = 0;  // the largest sum of step lengths of one weight: what rounding can scale
  std::vector<double> path(w.size());

  for (int t = 1; t <= 5; ++t) {
    const std::vector<float> gradient = model.set_gradients(t);
    optimizer.step(0.01f, 0.5f);
    const double norm = half * norm_of(gradient);
    const double scale =
        half * (clip_norm > 0 && norm > double(clip_norm) ? double(clip_norm) / norm : 1);
    REQUIRE(double(optimizer.norm()) == Approx(norm).epsilon(2 * kUnit));
    REQUIRE_FALSE(optimizer.skipped());
    REQUIRE(optimizer.steps() == t);
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double decay = matrices_only && !model.matrix[i] ? 0 : double(config.weight_decay);
      const double before = w[i];
      double g = scale * double(gradient[i]);
      if (kind == "adamw") {
        const double b1 = double(config.beta1), b2 = double(config.beta2);
        w[i] -= rate * decay * w[i];
        m[i] = b1 * m[i] + (1 - b1) * g;
        v[i] = b2 * v[i] + (1 - b2) * g * g;
        w[i] -= rate * (m[i] / (1 - std::pow(b1, t))) /
                (std::sqrt(v[i] / (1 - std::pow(b2, t))) + double(config.eps));
      } else if (kind == "rmsprop") {
        g += decay * w[i];
        v[i] = double(config.rho) * v[i] + (1 - double(config.rho)) * g * g;
        w[i] -= rate * g / (std::sqrt(v[i]) + double(config.eps));
      } else {
        g += decay * w[i];
        m[i] = double(config.momentum) * m[i] + g;
        w[i] -= rate * m[i];
      }
      path[i] += std::abs(w[i] - before);
      moved = std::max(moved, path[i]);
    }
  }
  // Each step rounds the weight once or twice, and its length is good to some tens of units of the
  // longest (kernels/optimizer has the exact bounds of one step).
  Worst worst;
  const std::vector<float> got = model.current();
  for (std::size_t i = 0; i < w.size(); ++i) {
    worst.see(got[i] - w[i], kUnit * (10 * (std::abs(w[i]) + path[i]) + 100 * moved), i);
  }
  CAPTURE(worst.index);
  REQUIRE(worst.ratio <= 1);
  for (const Parameter& p : model.parameters.all()) {
    if (compute != DType::bf16) break;
    const auto weights = p.weight().to_host<float>();
    const auto copies = p.compute().to_host<bf16>();
    for (std::size_t i = 0; i < weights.size(); ++i) {
      REQUIRE(copies[i].bits == from_float<bf16>(weights[i]).bits);
    }
  }
}

TEST_CASE("a step whose gradient isn't finite changes nothing", "[optimizer]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const std::string kind = GENERATE("rmsprop", "adamw", "sgd");
  Model model(device, DType::f32);
  Optimizer optimizer({.kind = kind, .clip_norm = 1}, model.parameters);
  model.set_gradients(1);
  optimizer.step(0.01f);
  const std::vector<float> before = model.current();
  const auto state = [&] {
    std::vector<float> all;
    for (const auto& [name, tensor] : optimizer.state()) {
      const auto values = tensor.to_host<float>();
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  };
  const std::vector<float> state_before = state();

  std::vector<float> bias(9);
  bias[4] = GENERATE(NAN, INFINITY);
  model.parameters.find("a.bias")->gradient().copy_from(std::span<const float>(bias));
  optimizer.step(0.01f);
  REQUIRE(optimizer.skipped());
  REQUIRE_FALSE(std::isfinite(optimizer.norm()));
  REQUIRE(model.current() == before);
  REQUIRE(state() == state_before);

  model.set_gradients(2);
  optimizer.step(0.01f);
  REQUIRE_FALSE(optimizer.skipped());
  REQUIRE(model.current() != before);
}

TEST_CASE("an optimiser goes on from its saved state", "[optimizer]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const std::string kind = GENERATE("rmsprop", "adamw", "sgd");
  Model model(device, DType::f32), copy(device, DType::f32);
  Optimizer optimizer({.kind = kind}, model.parameters);
  for (int t = 1; t <= 3; ++t) {
    model.set_gradients(t);
    optimizer.step(0.01f);
  }
  const auto names = [&] {
    std::string all;
    for (const auto& [name, tensor] : optimizer.state()) all += name + " ";
    return all;
  }();
  REQUIRE(names == (kind == "adamw" ? "mean square " : kind == "sgd" ? "momentum " : "square "));

  Optimizer resumed({.kind = kind}, copy.parameters);
  copy.parameters.flat_weights().copy_from(model.parameters.flat_weights());
  for (std::size_t i = 0; i < optimizer.state().size(); ++i) {
    resumed.state()[i].second.copy_from(optimizer.state()[i].second);
  }
  resumed.set_steps(optimizer.steps());
  model.set_gradients(4);
  copy.set_gradients(4);
  optimizer.step(0.01f);
  resumed.step(0.01f);
  REQUIRE(copy.current() == model.current());
}

TEST_CASE("optimiser configurations are checked", "[optimizer]") {
  const auto refuses = [](const OptimizerConfig& config, const char* why) {
    REQUIRE_THROWS_WITH(config.validate(), Catch::Contains(why));
  };
  OptimizerConfig().validate();
  refuses({.kind = "adam"}, "optimizer 'adam': use rmsprop, adamw or sgd");
  refuses({.weight_decay = -1}, "weight decay -1");
  refuses({.rho = 1}, "rho 1");
  refuses({.beta1 = 1}, "betas 1");
  refuses({.beta2 = -0.5f}, "-0.5");
  refuses({.momentum = 1}, "momentum 1");
  refuses({.eps = 0}, "eps 0");
  refuses({.clip_norm = -1}, "clip norm -1");
  refuses({.weight_decay = NAN}, "weight decay nan");
}

TEST_CASE("learning rates over a run", "[optimizer]") {
  LearningRateSchedule constant{.base = 0.5f};
  REQUIRE(constant.at(0) == 0.5f);
  REQUIRE(constant.at(1000) == 0.5f);

  LearningRateSchedule warm{.base = 0.5f, .warmup_steps = 4, .total_steps = 10};
  REQUIRE(warm.at(0) == 0.125f);
  REQUIRE(warm.at(3) == 0.5f);
  REQUIRE(warm.at(4) == 0.5f);

  LearningRateSchedule cosine{
      .kind = "cosine", .base = 2, .warmup_steps = 10, .total_steps = 110, .final_fraction = 0.1f};
  REQUIRE(cosine.at(0) == Approx(0.2));
  REQUIRE(cosine.at(9) == 2);
  REQUIRE(cosine.at(10) == 2);
  REQUIRE(cosine.at(60) == Approx(2 * (0.1 + 0.9 / 2)));
  REQUIRE(cosine.at(35) == Approx(2 * (0.1 + 0.9 * (1 + std::sqrt(0.5)) / 2)));
  REQUIRE(cosine.at(110) == Approx(0.2));
  REQUIRE(cosine.at(100000) == Approx(0.2));  // past the end it stays there
  for (std::int64_t step = 10; step < 110; ++step) REQUIRE(cosine.at(step + 1) < cosine.at(step));

  const auto refuses = [](const LearningRateSchedule& s, const char* why) {
    REQUIRE_THROWS_WITH(s.validate(), Catch::Contains(why));
  };
  cosine.validate();
  refuses({.kind = "step"}, "learning rate schedule 'step': use constant or cosine");
  refuses({.base = 0}, "learning rate 0");
  refuses({.warmup_steps = -1}, "-1 of warm-up");
  refuses({.total_steps = 0}, "schedule of 0 steps");
  refuses({.final_fraction = 1.5f}, "final learning rate fraction 1.5");
}

}  // namespace
}  // namespace hh
