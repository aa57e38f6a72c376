// SPDX-License-Identifier: Apache-2.0
// Optimisers over all parameters of a network, in one pass over the flat arrays. Ranks that train
// together each keep the running averages of a shard of them, and update it: ZeRO, stage 1
// (Rajbhandari and others, arXiv 1910.02054, section 5.1).
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/device/backend.h"
#include "engine/distributed/communicator.h"
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
  /// Keeps references to `parameters`, which must be placed, trainable and the same on all ranks,
  /// and to `ranks`.
  Optimizer(const OptimizerConfig& config, Parameters& parameters,
            Communicator& ranks = single_rank());

  /// One step with the gradients as they are, summed over the ranks in their order, each multiplied
  /// by `gradient_scale` first (1 / number of accumulated batches). Afterwards all ranks have the
  /// same weights, and gradients that are only good to be cleared. Skipped, on the device and
  /// without a word to the host, when the gradient isn't finite; norm() and skipped() tell.
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
  /// Running averages by name ("square", "mean", "momentum"), flat like the parameters: elements
  /// [shard().begin, shard().end) of them.
  using State = std::vector<std::pair<std::string, Tensor>>;
  const State& state() const { return state_; }
  /// The same of all elements: state() with one rank, else gathered to rank 0, on the CPU; the
  /// other ranks, which must call it too, get none.
  State whole_state() const;
  /// Elements from `begin` on of average number `which` become `values`, as bytes of f32; those of
  /// other shards are left out.
  void set_state(std::size_t which, std::int64_t begin, std::span<const std::byte> values);

  /// Elements of the flat arrays.
  struct Range {
    std::int64_t begin = 0, end = 0;
    std::int64_t count() const { return end - begin; }
  };
  /// What this rank updates. Shards begin where chunks of the gradient's norm do, so that its bits
  /// don't depend on the number of ranks; a small network's may be empty.
  const Range& shard() const { return shards_[std::size_t(ranks_.rank())]; }

 private:
  /// The rule of the optimiser on the shard.
  void update(const OptimizerArrays& arrays);
  /// The shard's gradients become the sums over the ranks.
  void sum_gradients();
  /// Shards as parts of an array of `bytes` a flat element, or one every `per` elements.
  std::vector<Part> parts_of_shards(std::size_t bytes, std::int64_t per = 1) const;

  OptimizerConfig config_;
  Parameters& parameters_;
  Communicator& ranks_;
  std::vector<Range> shards_;               // [ranks]
  std::vector<OptimizerSegment> segments_;  // of the shard, counted from its begin
  State state_;
  Tensor squares_;  // [chunks] f64: of the gradient, by kernels/optimizer/gradient_norm.h
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
