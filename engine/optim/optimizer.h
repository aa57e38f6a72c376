// SPDX-License-Identifier: Apache-2.0
// Optimisers over all parameters of a network, in one pass over the flat arrays.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/device/backend.h"
#include "engine/tensor/parameter.h"

namespace hh {

struct OptimizerConfig {
  std::string kind = "rmsprop";  // rmsprop, adamw, sgd
  float weight_decay = 1e-5f;
  bool decay_matrices_only = false;    // spare biases, LayerNorms and position embeddings
  float rho = 0.99f;                   // rmsprop
  float beta1 = 0.9f, beta2 = 0.999f;  // adamw
  float momentum = 0.9f;               // sgd
  float eps = 1e-8f;                   // rmsprop, adamw
  float clip_norm = 0;                 // largest gradient norm; 0: no clipping

  void validate() const;
};

class Optimizer {
 public:
  /// Keeps a reference to `parameters`, which must be placed and trainable.
  Optimizer(const OptimizerConfig& config, Parameters& parameters);

  /// One step with the gradients as they are, each multiplied by `gradient_scale` first (1 / number
  /// of accumulated batches). Skipped, on the device and without a word to the host, when the
  /// gradient isn't finite; norm() and skipped() tell.
  void step(float learning_rate, float gradient_scale = 1);

  /// Of the last step: l2 norm of the scaled gradient before clipping; whether it was skipped. Both
  /// wait for the device.
  float norm() const { return norm_.to_host<float>()[0]; }
  bool skipped() const { return skip_.to_host<std::int32_t>()[0] != 0; }
  /// norm(), without waiting here: it isn't finite when the step was skipped.
  std::unique_ptr<PendingFloat> norm_later() const {
    return backend(norm_.device()).read_later(norm_.data<float>());
  }

  std::int64_t steps() const { return steps_; }
  void set_steps(std::int64_t steps) { steps_ = steps; }
  /// Running averages by name ("square", "mean", "momentum"), flat like the parameters.
  const std::vector<std::pair<std::string, Tensor>>& state() const { return state_; }

 private:
  OptimizerConfig config_;
  Parameters& parameters_;
  std::vector<OptimizerSegment> segments_;
  std::vector<std::pair<std::string, Tensor>> state_;
  Tensor norm_, scale_, skip_;
  std::int64_t steps_ = 0;
};

/// Learning rate over the steps of a training run: a linear warm-up, then constant or a half cosine
/// that would reach `final_fraction` of the base rate at step `total_steps`, one past the last.
struct LearningRateSchedule {
  std::string kind = "constant";  // constant, cosine
  float base = 2.5e-5f;
  std::int64_t warmup_steps = 0;
  std::int64_t total_steps = 1;
  float final_fraction = 0;

  void validate() const;
  /// For step 0, 1, ...
  float at(std::int64_t step) const;
};

}  // namespace hh
