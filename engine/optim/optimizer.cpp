// SPDX-License-Identifier: Apache-2.0
#include "engine/optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/device/launch.h"
#include "kernels/optimizer/gradient_norm.h"
#include "kernels/optimizer/optimizer_update.h"

namespace hh {

void OptimizerConfig::validate() const {
  HH_REQUIRE(kind == "rmsprop" || kind == "adamw" || kind == "sgd",
             "optimizer '" << kind << "': use rmsprop, adamw or sgd");
  HH_REQUIRE(weight_decay >= 0, "weight decay " << weight_decay << ": use 0 or more");
  HH_REQUIRE(rho >= 0 && rho < 1, "rho " << rho << ": use 0 to < 1");
  HH_REQUIRE(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1,
             "betas " << beta1 << ", " << beta2 << ": use 0 to < 1");
  HH_REQUIRE(momentum >= 0 && momentum < 1, "momentum " << momentum << ": use 0 to < 1");
  HH_REQUIRE(eps > 0, "eps " << eps << ": use a positive number");
  HH_REQUIRE(clip_norm >= 0, "clip norm " << clip_norm << ": use 0 (off) or more");
}

Optimizer::Optimizer(const OptimizerConfig& config, Parameters& parameters)
    : config_(config), parameters_(parameters) {
  config.validate();
  segments_ = parameters.segments(config.weight_decay, config.decay_matrices_only);
  const Tensor& weights = parameters.flat_weights();
  const Device device = weights.device();
  const auto add_state = [&](const char* name) {
    state_.emplace_back(name, Tensor::zeros(weights.shape(), DType::f32, device));
  };
  if (config.kind == "adamw") add_state("mean");
  add_state(config.kind == "sgd" ? "momentum" : "square");
  norm_ = Tensor::zeros({1}, DType::f32, device);
  scale_ = Tensor::zeros({1}, DType::f32, device);
  skip_ = Tensor::zeros({1}, DType::i32, device);
}

void Optimizer::step(float learning_rate, float gradient_scale) {
  ++steps_;
  const Tensor& weights = parameters_.flat_weights();
  const Tensor& gradients = parameters_.flat_gradients();
  const Tensor& copies = parameters_.flat_copies();
  launch(weights.device(), GradientNorm{.gradient = gradients.data<float>(),
                                        .n = gradients.count(),
                                        .inverse_loss_scale = gradient_scale,
                                        .max_norm = config_.clip_norm,
                                        .norm = norm_.data<float>(),
                                        .scale = scale_.data<float>(),
                                        .skip = skip_.data<std::int32_t>()});
  const OptimizerArrays arrays{
      .weight = weights.data<float>(),
      .gradient = gradients.data<float>(),
      .copy = copies && copies.dtype() == DType::bf16 ? copies.data<bf16>() : nullptr,
      .f16_copy = copies && copies.dtype() == DType::f16 ? copies.data<f16>() : nullptr,
      .segments = segments_.data(),
      .segment_count = int(segments_.size()),
      .scale = scale_.data<float>(),
      .skip = skip_.data<std::int32_t>(),
      .learning_rate = learning_rate};
  float* const last = state_.back().second.data<float>();
  if (config_.kind == "rmsprop") {
    launch(weights.device(),
           RmspropUpdate{.arrays = arrays, .square = last, .rho = config_.rho, .eps = config_.eps});
  } else if (config_.kind == "adamw") {
    launch(weights.device(), AdamwUpdate{.arrays = arrays,
                                         .mean = state_.front().second.data<float>(),
                                         .square = last,
                                         .beta1 = config_.beta1,
                                         .beta2 = config_.beta2,
                                         .eps = config_.eps,
                                         .step = steps_});
  } else {
    launch(weights.device(),
           SgdUpdate{.arrays = arrays, .momentum_buffer = last, .momentum = config_.momentum});
  }
}

void LearningRateSchedule::validate() const {
  HH_REQUIRE(kind == "constant" || kind == "cosine",
             "learning rate schedule '" << kind << "': use constant or cosine");
  HH_REQUIRE(base > 0, "learning rate " << base << ": use a positive number");
  HH_REQUIRE(warmup_steps >= 0 && total_steps >= 1,
             "schedule of " << total_steps << " steps with " << warmup_steps
                            << " of warm-up: use 1 or more, and 0 or more");
  HH_REQUIRE(final_fraction >= 0 && final_fraction <= 1,
             "final learning rate fraction " << final_fraction << ": use 0 to 1");
}

float LearningRateSchedule::at(std::int64_t step) const {
  if (step < warmup_steps) return base * float(step + 1) / float(warmup_steps);
  if (kind == "constant") return base;
  const double span = double(std::max<std::int64_t>(total_steps - warmup_steps, 1));
  const double progress = std::min(1.0, double(step - warmup_steps) / span);
  const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * progress));
  return float(double(base) * (double(final_fraction) + (1 - double(final_fraction)) * cosine));
}

}  // namespace hh
