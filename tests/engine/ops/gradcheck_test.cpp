// SPDX-License-Identifier: Apache-2.0
// Every operation of engine/ops: its gradients against differences of its own outputs.
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "engine/ops/attention.h"
#include "engine/ops/blocks.h"
#include "engine/ops/hash.h"
#include "engine/ops/interaction.h"
#include "engine/ops/layer_norm.h"
#include "engine/ops/linear.h"
#include "engine/ops/loss.h"
#include "engine/tensor/tape.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::normal;

// A difference quotient over a step h errs by h^2 / 6 times the third derivative, and by the
// rounding of the outputs, about 2^-24 of their size, over h. At h = 2^-7 both are near 1e-5 of
// the sums below; a wrong term of a gradient changes them by far more than a thousandth.
constexpr double kStep = 0x1p-7;
constexpr double kTolerance = 2e-3;

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += double(a[i]) * double(b[i]);
  return sum;
}

/// A function of tensors and parameters under test.
class GradientCheck {
 public:
  explicit GradientCheck(Device device) : device_(device) {}

  const Parameter& parameter(const std::string& name, Shape shape, float mean = 0) {
    means_.push_back(mean);
    return parameters_.add(name, shape, Initialisation::kNormal);
  }
  void input(Shape shape) {
    inputs_.push_back(normal(std::size_t(shape.count()), inputs_.size() + 1));
    shapes_.push_back(shape);
  }

  using Function = std::function<std::vector<Tensor>(const std::vector<Tensor>&)>;

  /// Compares the derivative of a random weighting of all outputs along a random direction of each
  /// input and parameter.
  void run(const Function& f) {
    parameters_.place(device_, DType::f32, /*trainable=*/true);
    std::vector<std::vector<float>> values;
    for (const Parameter& p : parameters_.all()) {
      values.push_back(
          normal(std::size_t(p.shape().count()), 100 + values.size(), means_[values.size()], 0.3f));
      parameters_.set(p, values.back());
    }

    std::vector<std::vector<float>> gradients, weights;
    {
      Tape tape;
      std::vector<Tensor> inputs = tensors(inputs_), outputs;
      for (Tensor& x : inputs) x.want_gradient();
      {
        const Recording record(&tape);
        outputs = f(inputs);
      }
      for (std::size_t i = 0; i < outputs.size(); ++i) {
        weights.push_back(normal(std::size_t(outputs[i].count()), 200 + i));
        outputs[i].gradient()->add(Tensor::from(weights[i], outputs[i].shape(), device_));
      }
      outputs.clear();
      tape.backward();
      for (const Tensor& x : inputs) gradients.push_back(x.gradient()->take().to_host<float>());
    }
    const auto weighted = [&] {
      double sum = 0;
      const std::vector<Tensor> outputs = f(tensors(inputs_));
      for (std::size_t i = 0; i < outputs.size(); ++i) {
        sum += dot(outputs[i].to_host<float>(), weights[i]);
      }
      return sum;
    };
    const auto check = [&](const std::string& what, const std::vector<float>& at,
                           const std::vector<float>& gradient, std::uint64_t seed,
                           const std::function<void(const std::vector<float>&)>& set) {
      const auto direction = normal(at.size(), seed);
      const auto moved = [&](double step) {
        std::vector<float> to = at;
        for (std::size_t i = 0; i < to.size(); ++i) to[i] += float(step * double(direction[i]));
        set(to);
        return weighted();
      };
      const double up = moved(kStep), down = moved(-kStep);
      set(at);
      const double quotient = (up - down) / (2 * kStep), derivative = dot(gradient, direction);
      const double size = std::sqrt(dot(gradient, gradient));
      INFO(what << ": difference quotient " << quotient << ", gradient gives " << derivative);
      REQUIRE(size > 0);
      REQUIRE(std::abs(quotient - derivative) <= kTolerance * (size + std::abs(derivative)));
    };
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const std::vector<float> at = inputs_[i];
      check("input " + std::to_string(i), at, gradients[i], 300 + i,
            [&](const std::vector<float>& v) { inputs_[i] = v; });
    }
    std::size_t i = 0;
    for (const Parameter& p : parameters_.all()) {
      check(p.name(), values[i], p.gradient().to_host<float>(), 400 + i,
            [&](const std::vector<float>& v) { parameters_.set(p, v); });
      ++i;
    }
  }

 private:
  std::vector<Tensor> tensors(const std::vector<std::vector<float>>& values) const {
    std::vector<Tensor> all;
    for (std::size_t i = 0; i < values.size(); ++i) {
      all.push_back(Tensor::from(values[i], shapes_[i], device_));
    }
    return all;
  }

  Device device_;
  Parameters parameters_;
  std::vector<float> means_;
  std::vector<std::vector<float>> inputs_;
  std::vector<Shape> shapes_;
};

#define HH_GRADIENT_TEST(name)                                      \
  static void name(GradientCheck& check, Device device);            \
  TEST_CASE("gradient of " #name, "[gradcheck]") {                  \
    const Device device = GENERATE(from_range(testing::devices())); \
    CAPTURE(device);                                                \
    GradientCheck check(device);                                    \
    name(check, device);                                            \
  }                                                                 \
  static void name(GradientCheck& check, [[maybe_unused]] Device device)

HH_GRADIENT_TEST(patchify_op) {
  const PatchShape shape{.images = 2, .channels = 3, .size = 8, .patch = 2};
  check.input({2, 3, 8, 8});
  check.run([&](const auto& in) { return std::vector{patchify(in[0], shape, DType::f32)}; });
}

HH_GRADIENT_TEST(linear_op) {
  const Parameter& weight = check.parameter("weight", {7, 5});
  const Parameter& bias = check.parameter("bias", {7});
  check.input({3, 4, 5});
  check.run([&](const auto& in) { return std::vector{linear(in[0], weight, &bias)}; });
}

void check_mlp(GradientCheck& check, KeepHidden keep) {
  const Parameter& weight1 = check.parameter("weight1", {12, 5});
  const Parameter& bias1 = check.parameter("bias1", {12});
  const Parameter& weight2 = check.parameter("weight2", {7, 12});
  check.input({4, 5});
  check.run([&](const auto& in) { return std::vector{mlp(in[0], weight1, bias1, weight2, keep)}; });
}
HH_GRADIENT_TEST(mlp_op) { check_mlp(check, KeepHidden::kYes); }
HH_GRADIENT_TEST(mlp_op_computed_again) { check_mlp(check, KeepHidden::kNo); }

HH_GRADIENT_TEST(window_attention_op) {
  check.input({3, 5, 3 * 2 * 4});
  check.run([](const auto& in) { return std::vector{window_attention(in[0], 5, 2)}; });
}

HH_GRADIENT_TEST(residual_layer_norm_op) {
  const Parameter& bias = check.parameter("bias", {9});
  const NormParameters norm{check.parameter("gamma", {9}, 1), check.parameter("beta", {9})};
  const Tensor scale = Tensor::from(std::vector<float>{2, 0.5f}, {2}, device);
  check.input({2, 3, 9});
  check.input({2, 3, 9});
  check.run([&](const auto& in) {
    const ResidualPair out = residual_layer_norm(in[0], in[1], bias, scale, norm);
    return std::vector{out.z, out.y};
  });
}

HH_GRADIENT_TEST(blockify_layer_norm_op) {
  const Parameter& pos = check.parameter("pos", {1, 4, 9, 6});
  const NormParameters norm{check.parameter("gamma", {6}, 1), check.parameter("beta", {6})};
  check.input({2, 6, 6, 6});
  check.run([&](const auto& in) {
    const ResidualPair out = blockify_layer_norm(in[0], pos, norm, 2);
    return std::vector{out.z, out.y};
  });
}

HH_GRADIENT_TEST(blockify_layer_norm_stream_alone) {
  const Parameter& pos = check.parameter("pos", {1, 4, 9, 6});
  Parameters unused;
  const NormParameters norm{unused.add("gamma", {6}, Initialisation::kOne),
                            unused.add("beta", {6}, Initialisation::kZero)};
  unused.place(device, DType::f32, /*trainable=*/true);
  check.input({2, 6, 6, 6});
  check.run(
      [&](const auto& in) { return std::vector{blockify_layer_norm(in[0], pos, norm, 2).z}; });
}

HH_GRADIENT_TEST(deblockify_residual_op) {
  const Parameter& bias = check.parameter("bias", {6});
  const Tensor scale = Tensor::from(std::vector<float>{2, 0.5f}, {2}, device);
  check.input({2, 4, 9, 6});
  check.input({2, 4, 9, 6});
  check.run(
      [&](const auto& in) { return std::vector{deblockify_residual(in[0], in[1], bias, scale)}; });
}

HH_GRADIENT_TEST(conv2d_op) {
  const Parameter& weight = check.parameter("weight", {5, 3, 3, 3});
  const Parameter& bias = check.parameter("bias", {5});
  check.input({2, 4, 6, 3});
  check.run([&](const auto& in) { return std::vector{conv2d(in[0], weight, bias)}; });
}

HH_GRADIENT_TEST(block_average_pool_op) {
  check.input({2, 6, 6, 5});
  check.run([](const auto& in) { return std::vector{block_average_pool(in[0], 2)}; });
}

// Its input has a gradient already when its own is added.
HH_GRADIENT_TEST(block_average_pool_beside_other_ops) {
  const NormParameters norm{check.parameter("gamma", {8}, 1), check.parameter("beta", {8})};
  check.input({1, 4, 4, 8});
  check.run([&](const auto& in) {
    const Tensor pooled = block_average_pool(in[0], 2);
    return std::vector{in[0], pooled, interaction_merge(in[0], pooled, norm)};
  });
}

HH_GRADIENT_TEST(interaction_tokens_op) {
  const Parameter& pos = check.parameter("pos", {1, 4, 6});
  check.input({3, 2, 2, 6});
  check.run([&](const auto& in) { return std::vector{interaction_tokens(in[0], pos)}; });
}

HH_GRADIENT_TEST(interaction_merge_op) {
  const NormParameters norm{check.parameter("gamma", {8}, 1), check.parameter("beta", {8})};
  check.input({1, 4, 4, 8});
  check.input({1, 2, 2, 8});
  check.run([&](const auto& in) { return std::vector{interaction_merge(in[0], in[1], norm)}; });
}

HH_GRADIENT_TEST(hash_pool_op) {
  check.input({2, 4, 4, 5});
  check.input({2, 1, 1, 5});
  check.run([](const auto& in) { return std::vector{hash_pool(in[0], in[1])}; });
}

HH_GRADIENT_TEST(hash_head_op) {
  const Parameter& weight = check.parameter("weight", {8, 6, 1, 1});
  const Parameter& bias = check.parameter("bias", {8});
  check.input({3, 6});
  check.run([&](const auto& in) { return std::vector{hash_head(in[0], weight, bias).code}; });
}

TEST_CASE("gradient of wml_loss", "[gradcheck]") {
  const Device device = GENERATE(from_range(testing::devices()));
  CAPTURE(device);
  constexpr int kRows = 40, kBits = 8, kImages = 5;
  const BankView bank{Tensor::from(normal(kRows * kBits, 1), {kRows, kBits}, device),
                      Tensor::zeros({kRows, 1}, DType::u64, device)};
  std::vector<std::uint64_t> words(kRows), labels(kImages);
  for (int i = 0; i < kRows; ++i) words[std::size_t(i)] = 1 << (i % 3);
  for (int i = 0; i < kImages; ++i) labels[std::size_t(i)] = 1 << (i % 3);
  bank.labels.copy_from(std::span<const std::uint64_t>(words));
  const Tensor label_words = Tensor::from(labels, {kImages, 1}, device);
  const auto at = normal(kImages * kBits, 2), direction = normal(kImages * kBits, 3);
  const auto loss = [&](double step) {
    std::vector<float> moved = at;
    for (std::size_t i = 0; i < moved.size(); ++i) moved[i] += float(step * double(direction[i]));
    const Tensor code = Tensor::from(moved, {kImages, kBits}, device);
    return double(wml_loss(code, label_words, bank, 0.5f).loss.to_host<float>()[0]);
  };
  Tensor code = Tensor::from(at, {kImages, kBits}, device);
  code.want_gradient();
  Tape tape;
  {
    const Recording record(&tape);
    wml_loss(code, label_words, bank, 0.5f);
  }
  tape.backward();
  const auto gradient = code.gradient()->take().to_host<float>();
  const double quotient = (loss(kStep) - loss(-kStep)) / (2 * kStep);
  REQUIRE(dot(gradient, direction) == Approx(quotient).epsilon(kTolerance));
}

TEST_CASE("recomputed() gives the gradients of the plain call", "[gradcheck]") {
  const Device device = GENERATE(from_range(testing::devices()));
  CAPTURE(device);
  Parameters parameters;
  const Parameter& weight = parameters.add("weight", {6, 6}, Initialisation::kNormal);
  const Parameter& bias = parameters.add("bias", {6}, Initialisation::kNormal);
  parameters.place(device, DType::f32, /*trainable=*/true);
  parameters.initialise(1, {.std = 0.5f});
  const auto values = normal(4 * 6, 1), weights = normal(4 * 6, 2);
  const auto f = [&](const std::vector<Tensor>& in) {
    return std::vector{mlp(in[0], weight, bias, weight)};
  };
  const auto gradients = [&](bool again) {
    parameters.zero_gradients();
    Tensor x = Tensor::from(values, {4, 6}, device);
    x.want_gradient();
    Tape tape;
    {
      const Recording record(&tape);
      const Tensor y = (again ? recomputed(f, {x}) : f({x}))[0];
      y.gradient()->add(Tensor::from(weights, {4, 6}, device));
    }
    tape.backward();
    return std::vector{x.gradient()->take().to_host<float>(), weight.gradient().to_host<float>(),
                       bias.gradient().to_host<float>()};
  };
  REQUIRE(gradients(true) == gradients(false));
}

}  // namespace
}  // namespace hh
