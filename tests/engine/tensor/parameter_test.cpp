// SPDX-License-Identifier: Apache-2.0
#include "engine/tensor/parameter.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <map>
#include <string>

#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

struct Declaration {
  std::string name;
  Shape shape;
  Initialisation initialisation;
};
const std::vector<Declaration> kDeclarations{{"a.weight", {50, 30}, Initialisation::kNormal},
                                             {"a.bias", {50}, Initialisation::kZero},
                                             {"norm.weight", {33}, Initialisation::kOne},
                                             {"norm.bias", {33}, Initialisation::kZero},
                                             {"pos_embed", {1, 4, 64, 8}, Initialisation::kNormal},
                                             {"b.weight", {50, 30}, Initialisation::kNormal}};

void declare(Parameters& p, const std::vector<Declaration>& declarations = kDeclarations) {
  for (const Declaration& d : declarations) p.add(d.name, d.shape, d.initialisation);
}

std::map<std::string, std::vector<float>> weights_of(const Parameters& p) {
  std::map<std::string, std::vector<float>> weights;
  for (const Parameter& one : p.all()) weights[one.name()] = one.weight().to_host<float>();
  return weights;
}

double deviation(const std::vector<float>& values) {
  double sum = 0;
  for (const float x : values) sum += double(x) * double(x);
  return std::sqrt(sum / double(values.size()));
}

TEST_CASE("parameters lie in flat arrays, found by name", "[parameter]") {
  const Device device = GENERATE(from_range(testing::devices()));
  Parameters p;
  Parameter& first = p.add("first", {3, 5}, Initialisation::kNormal);
  declare(p);
  REQUIRE(first.name() == "first");  // a reference stays valid
  REQUIRE(first.shape() == Shape{3, 5});
  p.place(device, DType::f32, /*trainable=*/true);
  REQUIRE(p.all().size() == 7);
  REQUIRE(p.find("first") == &first);
  REQUIRE(p.find("norm.bias")->shape() == Shape{33});
  REQUIRE(p.find("missing") == nullptr);
  REQUIRE(p.count() == 15 + 1500 + 50 + 33 + 33 + 2048 + 1500);
  REQUIRE_FALSE(p.flat_copies());
  const std::byte* end = p.flat_weights().raw();
  for (const Parameter& one : p.all()) {
    CAPTURE(one.name());
    REQUIRE(one.weight().raw() >= end);
    end = one.weight().raw() + one.weight().bytes();
    REQUIRE((one.weight().raw() - p.flat_weights().raw()) % 64 == 0);
    // Gradients lie at the same places of their array; f32 computes with the weights themselves.
    REQUIRE(one.gradient().raw() - p.flat_gradients().raw() ==
            one.weight().raw() - p.flat_weights().raw());
    REQUIRE(one.compute().raw() == one.weight().raw());
    REQUIRE(one.gradient().to_host<float>() ==
            std::vector<float>(std::size_t(one.shape().count()), 0));
  }
  REQUIRE(end <= p.flat_weights().raw() + p.flat_weights().bytes());
}

TEST_CASE("initial weights depend on seed and name alone", "[parameter]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const auto initialised = [&](std::uint64_t seed, std::vector<Declaration> declarations) {
    Parameters p;
    declare(p, declarations);
    p.place(device, DType::f32, false);
    p.initialise(seed);
    return weights_of(p);
  };
  const auto weights = initialised(1, kDeclarations);
  REQUIRE(initialised(1, kDeclarations) == weights);
  std::vector<Declaration> reversed(kDeclarations.rbegin(), kDeclarations.rend());
  reversed.insert(reversed.begin(), {"more", {7}, Initialisation::kNormal});
  auto others = initialised(1, reversed);
  others.erase("more");
  REQUIRE(others == weights);

  REQUIRE(initialised(2, kDeclarations).at("a.weight") != weights.at("a.weight"));
  REQUIRE(weights.at("a.weight") != weights.at("b.weight"));
  // On every machine and device: the first numbers of this seed and name.
  Parameters cpu;
  declare(cpu);
  cpu.place(kCpu, DType::f32, false);
  cpu.initialise(1);
  REQUIRE(weights_of(cpu) == weights);
}

TEST_CASE("initial weights have the width asked for", "[parameter]") {
  const Device device = GENERATE(from_range(testing::devices()));
  Parameters p;
  declare(p);
  p.place(device, DType::f32, false);
  p.initialise(3);
  auto weights = weights_of(p);
  REQUIRE(weights.at("a.bias") == std::vector<float>(50, 0));
  REQUIRE(weights.at("norm.weight") == std::vector<float>(33, 1));
  REQUIRE(weights.at("norm.bias") == std::vector<float>(33, 0));
  // The deviation of n normal numbers has a deviation of 1 / sqrt(2 n) of it: 1.8 % and less here.
  REQUIRE(deviation(weights.at("a.weight")) == Approx(0.02).epsilon(0.1));
  REQUIRE(deviation(weights.at("pos_embed")) == Approx(0.02).epsilon(0.1));
  double sum = 0;
  for (const float x : weights.at("pos_embed")) sum += double(x);
  REQUIRE(std::abs(sum / 2048) < 5 * 0.02 / std::sqrt(2048.0));

  p.initialise(3, {.std = 0.5f, .fan_in = true});
  weights = weights_of(p);
  REQUIRE(deviation(weights.at("a.weight")) == Approx(1 / std::sqrt(30.0)).epsilon(0.1));
  REQUIRE(deviation(weights.at("pos_embed")) == Approx(0.5).epsilon(0.1));
  REQUIRE(weights.at("norm.weight") == std::vector<float>(33, 1));
}

TEST_CASE("bf16 copies follow the weights when refreshed", "[parameter]") {
  const Device device = GENERATE(from_range(testing::devices()));
  Parameters p;
  declare(p);
  p.place(device, DType::bf16, true);
  p.initialise(5);
  const auto copies_match = [&] {
    for (const Parameter& one : p.all()) {
      const std::vector<float> weights = one.weight().to_host<float>();
      const std::vector<bf16> copies = one.compute().to_host<bf16>();
      for (std::size_t i = 0; i < weights.size(); ++i) {
        if (copies[i].bits != from_float<bf16>(weights[i]).bits) return false;
      }
    }
    return true;
  };
  REQUIRE(p.find("a.weight")->compute().dtype() == DType::bf16);
  REQUIRE(copies_match());
  p.set(*p.find("a.bias"), testing::normal(50, 1));
  REQUIRE_FALSE(copies_match());
  p.refresh_compute();
  REQUIRE(copies_match());
}

TEST_CASE("weights are set by their number, gradients cleared", "[parameter]") {
  const Device device = GENERATE(from_range(testing::devices()));
  Parameters p;
  declare(p);
  p.place(device, DType::f32, true);
  const Parameter& bias = *p.find("a.bias");
  const auto values = testing::normal(50, 1);
  p.set(bias, values);
  REQUIRE(bias.weight().to_host<float>() == values);
  REQUIRE_THROWS_WITH(p.set(bias, std::vector<float>(49)),
                      Catch::Contains("a.bias takes 50 values of shape [50], not 49"));
  bias.gradient().copy_from(std::span<const float>(values));
  REQUIRE(bias.gradient().to_host<float>() == values);
  p.zero_gradients();
  REQUIRE(p.flat_gradients().to_host<float>() ==
          std::vector<float>(std::size_t(p.flat_gradients().count()), 0));

  Parameters inference;
  declare(inference);
  inference.place(device, DType::f32, /*trainable=*/false);
  REQUIRE_FALSE(inference.flat_gradients());
  REQUIRE_FALSE(inference.find("a.bias")->gradient());
}

TEST_CASE("segments cover the flat arrays, with the decay each parameter takes", "[parameter]") {
  Parameters p;
  declare(p);
  p.place(kCpu, DType::f32, true);
  const bool matrices_only = GENERATE(false, true);
  const auto segments = p.segments(0.5f, matrices_only);
  if (!matrices_only) REQUIRE(segments.size() == 1);
  std::int64_t covered = 0;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    REQUIRE(segments[i].begin == covered);
    if (i > 0) REQUIRE(segments[i].weight_decay != segments[i - 1].weight_decay);
    covered += segments[i].count;
  }
  REQUIRE(covered == p.flat_weights().count());
  for (const Parameter& one : p.all()) {
    CAPTURE(one.name());
    const std::int64_t begin = one.weight().data<float>() - p.flat_weights().data<float>();
    const bool matrix = one.name() == "a.weight" || one.name() == "b.weight";
    const auto inside = std::count_if(segments.begin(), segments.end(), [&](const auto& s) {
      return s.begin <= begin && begin + one.shape().count() <= s.begin + s.count &&
             s.weight_decay == (matrices_only && !matrix ? 0.0f : 0.5f);
    });
    REQUIRE(inside == 1);
  }
}

}  // namespace
}  // namespace hh
