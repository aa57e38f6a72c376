// SPDX-License-Identifier: Apache-2.0
#include "engine/optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/device/launch.h"
#include "kernels/optimizer/gradient_norm.h"
#include "kernels/optimizer/optimizer_update.h"
#include "kernels/optimizer/shard_sum.h"

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

namespace {

/// Shards of whole chunks of the gradient's norm, as even as these allow.
std::vector<Optimizer::Range> shards_of(std::int64_t n, int ranks) {
  const std::int64_t chunks = GradientSquares::chunks(n);
  std::vector<Optimizer::Range> shards;
  for (int r = 0; r < ranks; ++r) {
    shards.push_back({std::min(chunks * r / ranks * GradientSquares::kChunk, n),
                      std::min(chunks * (r + 1) / ranks * GradientSquares::kChunk, n)});
  }
  return shards;
}

/// What of the segments lies in the shard, counted from its begin.
std::vector<OptimizerSegment> segments_in(const std::vector<OptimizerSegment>& segments,
                                          const Optimizer::Range& shard) {
  std::vector<OptimizerSegment> inside;
  for (const OptimizerSegment& s : segments) {
    const std::int64_t begin = std::max(s.begin, shard.begin);
    const std::int64_t end = std::min(s.begin + s.count, shard.end);
    if (begin < end) inside.push_back({begin - shard.begin, end - begin, s.weight_decay});
  }
  return inside;
}

/// Elements that a message about shards holds: 4 MiB a rank bound the memory that it takes.
constexpr std::int64_t kPiece = std::int64_t{1} << 20;

/// Calls visit(piece) for pieces of a shard, of which there are as many as the largest needs.
template <class Visit>
void for_each_piece(const std::vector<Optimizer::Range>& shards, Visit visit) {
  std::int64_t most = 0;
  for (const Optimizer::Range& s : shards) most = std::max(most, s.count());
  for (std::int64_t first = 0; first < most; first += kPiece) {
    visit([first](const Optimizer::Range& s) {
      return Optimizer::Range{std::min(s.begin + first, s.end),
                              std::min(s.begin + first + kPiece, s.end)};
    });
  }
}

}  // namespace

Optimizer::Optimizer(const OptimizerConfig& config, Parameters& parameters, Communicator& ranks)
    : config_(config), parameters_(parameters), ranks_(ranks) {
  config.validate();
  const Tensor& weights = parameters.flat_weights();
  shards_ = shards_of(weights.count(), ranks.size());
  segments_ =
      segments_in(parameters.segments(config.weight_decay, config.decay_matrices_only), shard());
  const Device device = weights.device();
  const auto add_state = [&](const char* name) {
    state_.emplace_back(name, Tensor::zeros({shard().count()}, DType::f32, device));
  };
  if (config.kind == "adamw") add_state("mean");
  add_state(config.kind == "sgd" ? "momentum" : "square");
  squares_ = Tensor({GradientSquares::chunks(weights.count())}, DType::f64, device);
  norm_ = Tensor::zeros({1}, DType::f32, device);
  scale_ = Tensor::zeros({1}, DType::f32, device);
  skip_ = Tensor::zeros({1}, DType::i32, device);
}

std::vector<Part> Optimizer::parts_of_shards(std::size_t bytes, std::int64_t per) const {
  std::vector<Part> parts;
  for (const Range& s : shards_) {
    const std::int64_t begin = s.begin / per, end = (s.end + per - 1) / per;
    parts.push_back({std::size_t(begin) * bytes, std::size_t(end - begin) * bytes});
  }
  return parts;
}

void Optimizer::sum_gradients() {
  const Tensor& gradients = parameters_.flat_gradients();
  for_each_piece(shards_, [&](const auto& piece_of) {
    std::vector<Part> parts;
    for (const Range& s : shards_) {
      const Range piece = piece_of(s);
      parts.push_back(
          {std::size_t(piece.begin) * sizeof(float), std::size_t(piece.count()) * sizeof(float)});
    }
    const Range own = piece_of(shard());
    const Tensor all({ranks_.size(), own.count()}, DType::f32, gradients.device());
    ranks_.all_to_all(gradients.raw(), all.raw(), parts);
    launch(gradients.device(), ShardSum{.parts = all.data<float>(),
                                        .sum = gradients.data<float>() + own.begin,
                                        .ranks = ranks_.size(),
                                        .n = own.count()});
  });
}

void Optimizer::step(float learning_rate, float gradient_scale) {
  ++steps_;
  const bool alone = ranks_.size() == 1;
  const Tensor& weights = parameters_.flat_weights();
  const Tensor& gradients = parameters_.flat_gradients();
  const Tensor& copies = parameters_.flat_copies();
  const std::int64_t begin = shard().begin;
  if (!alone) sum_gradients();
  launch(weights.device(),
         GradientSquares{.gradient = gradients.data<float>() + begin,
                         .n = shard().count(),
                         .squares = squares_.data<double>() + begin / GradientSquares::kChunk});
  ranks_.all_gather(squares_.raw(), parts_of_shards(sizeof(double), GradientSquares::kChunk));
  launch(weights.device(), GradientNorm{.squares = squares_.data<double>(),
                                        .chunks = squares_.count(),
                                        .inverse_loss_scale = gradient_scale,
                                        .max_norm = config_.clip_norm,
                                        .norm = norm_.data<float>(),
                                        .scale = scale_.data<float>(),
                                        .skip = skip_.data<std::int32_t>()});
  // The copies of other shards are made of the weights that come, so here with them.
  const bool copied = alone && copies;
  update({.weight = weights.data<float>() + begin,
          .gradient = gradients.data<float>() + begin,
          .copy = copied && copies.dtype() == DType::bf16 ? copies.data<bf16>() : nullptr,
          .f16_copy = copied && copies.dtype() == DType::f16 ? copies.data<f16>() : nullptr,
          .segments = segments_.data(),
          .segment_count = int(segments_.size()),
          .scale = scale_.data<float>(),
          .skip = skip_.data<std::int32_t>(),
          .learning_rate = learning_rate});
  if (alone) return;
  ranks_.all_gather(weights.raw(), parts_of_shards(sizeof(float)));
  parameters_.refresh_compute();
}

void Optimizer::update(const OptimizerArrays& arrays) {
  const Device device = parameters_.flat_weights().device();
  float* const last = state_.back().second.data<float>();
  if (config_.kind == "rmsprop") {
    launch(device,
           RmspropUpdate{.arrays = arrays, .square = last, .rho = config_.rho, .eps = config_.eps});
  } else if (config_.kind == "adamw") {
    launch(device, AdamwUpdate{.arrays = arrays,
                               .mean = state_.front().second.data<float>(),
                               .square = last,
                               .beta1 = config_.beta1,
                               .beta2 = config_.beta2,
                               .eps = config_.eps,
                               .step = steps_});
  } else {
    launch(device,
           SgdUpdate{.arrays = arrays, .momentum_buffer = last, .momentum = config_.momentum});
  }
}

Optimizer::State Optimizer::whole_state() const {
  if (ranks_.size() == 1) return state_;
  const Tensor& weights = parameters_.flat_weights();
  const bool first = ranks_.rank() == 0;
  State whole;
  for (const auto& [name, own] : state_) {
    const Tensor all = first ? Tensor(weights.shape(), DType::f32, kCpu) : Tensor();
    for (int r = 0; r < ranks_.size(); ++r) {
      const Range& from = shards_[std::size_t(r)];
      for_each_piece({from}, [&, values = own](const auto& piece_of) {
        const Range piece = piece_of(from);
        const Shape shape{piece.count()};
        const Tensor message = r == ranks_.rank() ? values.part(piece.begin - from.begin, shape)
                                                  : Tensor(shape, DType::f32, weights.device());
        ranks_.broadcast(message.raw(), message.bytes(), r);
        if (!first) return;
        backend(weights.device())
            .copy_to_host(all.data<float>() + piece.begin, message.raw(), message.bytes());
      });
    }
    backend(weights.device()).synchronize();
    if (first) whole.emplace_back(name, all);
  }
  return whole;
}

void Optimizer::set_state(std::size_t which, std::int64_t begin,
                          std::span<const std::byte> values) {
  const auto count = std::int64_t(values.size() / sizeof(float));
  const std::int64_t from = std::max(begin, shard().begin);
  const std::int64_t to = std::min(begin + count, shard().end);
  if (from >= to) return;
  const Tensor own = state_[which].second.part(from - shard().begin, {to - from});
  backend(own.device())
      .copy_from_host(own.raw(), values.data() + std::size_t(from - begin) * sizeof(float),
                      own.bytes());
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
