// SPDX-License-Identifier: Apache-2.0
#include "model/training/trainer.h"

#include <cmath>
#include <numeric>
#include <utility>

#include "engine/device/launch.h"
#include "engine/device/profiler.h"
#include "engine/ops/gather_rows.h"
#include "engine/tensor/tape.h"
#include "engine/text/log.h"
#include "kernels/random/drop_path_scale.h"

namespace hh {

Trainer::Trainer(const TrainerConfig& config, Device device)
    : config_(config),
      device_(device),
      network_(config.model, parameters_),
      bank_(config.bank_rows, config.model.bits, config.classes, config.bank_dtype, device),
      drop_path_rates_(network_.drop_path_rates()) {
  parameters_.place(device, config.dtype, /*trainable=*/true);
  optimizer_ = std::make_unique<Optimizer>(config.optimizer, parameters_, *config.ranks);
  use_graph(config.graph);
  if (config.dtype == DType::f16) {
    loss_scale_ = Tensor::from(std::span<const float>(&scaler_.scale, 1), {1}, device);
  }
}

void Trainer::draw_drop_path(const Tensor& scale, std::int64_t first) const {
  // Batches of one step must not repeat each other's draws.
  const auto draw = std::uint64_t(optimizer_->steps()) << 16 | std::uint64_t(accumulated_);
  launch(device_, DropPathScale{.rate = drop_path_rates_.data(),
                                .scale = scale.data<float>(),
                                .rows = int(scale.dim(0)),
                                .images = int(scale.dim(1)),
                                .first = int(first),
                                .seed = config_.seed,
                                .step = draw});
}

void Trainer::fill(Step& step, std::span<const std::uint8_t> pixels,
                   std::span<const std::uint64_t> labels,
                   std::span<const std::int64_t> rows) const {
  const HybridHashConfig& c = config_.model;
  const auto images = std::int64_t(rows.size());
  const Shape shape{images, c.image_size, c.image_size, c.in_channels};
  HH_PRECONDITION(
      std::int64_t(pixels.size()) == shape.count(),
      pixels.size() << " pixel values aren't " << images << " images of " << to_string(shape));
  if (!step.pixels) {
    step.pixels = Tensor(shape, DType::u8, device_);
    if (c.drop_path != 0) {
      step.drop_path = Tensor({std::int64_t(drop_path_rates_.size()), images}, DType::f32, device_);
    }
    step.batch = bank_.batch(labels, rows);
  } else {
    bank_.refill(step.batch, labels, rows);
  }
  step.pixels.copy_from(pixels);
  if (!step.drop_path) return;
  const auto before = step.slices.begin() + (step.slices.empty() ? 0 : config_.ranks->rank());
  draw_drop_path(step.drop_path, std::accumulate(step.slices.begin(), before, std::int64_t{0}));
}

Tensor Trainer::loss_of(const Tensor& code, const Step& step) {
  const UseLayer layer({.layer = "loss"});
  const ProfileRange range("loss");
  if (step.slices.empty()) {
    return bank_.loss(code, step.batch, config_.alpha, loss_scale_).loss;
  }
  // The loss divides by the pairs of the whole batch, and the bank takes all of its codes: both are
  // everybody's.
  const auto all = [&](const Tensor& own) { return gather_rows(own, step.slices, *config_.ranks); };
  const MemoryBank::Batch whole{all(step.batch.labels), all(step.batch.indices)};
  return bank_.loss(all(code), whole, config_.alpha, loss_scale_).loss;
}

void Trainer::compute(Step& step) {
  if (step.pixels.dim(0) == 0) {
    step.loss = loss_of(Tensor({0, config_.model.bits}, DType::f32, device_), step);
    return;
  }
  const Tensor input = patch_rows(network_, step.pixels, config_.pixels, config_.dtype);
  const ForwardOptions options{.drop_path = step.drop_path, .recompute = config_.recompute};
  Tape tape;
  {
    const Recording record(&tape);
    const HashCode out = [&] {
      const ProfileRange range("forward");
      return network_.forward(input, options);
    }();
    step.loss = loss_of(out.code, step);
  }
  const ProfileRange range("backward");
  tape.backward();
}

bool Trainer::record(int images) {
  // What eager steps left behind is of the sizes that the graph needs in its own pool.
  recorded_ = {};
  release_cached_memory(device_);
  try {
    RecordedStep made{.pool = std::make_shared<MemoryPool>(device_), .step = {}, .graph = nullptr};
    const UsePool own(made.pool);
    const HybridHashConfig& c = config_.model;
    const std::int64_t count = images;
    made.step.pixels =
        Tensor({count, c.image_size, c.image_size, c.in_channels}, DType::u8, device_);
    if (c.drop_path != 0) {
      made.step.drop_path =
          Tensor({std::int64_t(drop_path_rates_.size()), count}, DType::f32, device_);
    }
    const std::vector<std::uint64_t> no_labels(std::size_t(images) *
                                               std::size_t(label_words(config_.classes)));
    made.step.batch = bank_.batch(no_labels, std::vector<std::int64_t>(std::size_t(images)));
    made.graph = backend(device_).record([&] { compute(made.step); });
    if (!made.graph) return false;
    recorded_ = std::move(made);
    return true;
  } catch (const OutOfMemory& e) {
    log(LogLevel::kInfo, std::string("training steps are not recorded: ") + e.what());
    return false;
  }
}

Tensor Trainer::accumulate(std::span<const std::uint8_t> pixels,
                           std::span<const std::uint64_t> labels,
                           std::span<const std::int64_t> rows,
                           std::span<const std::int64_t> slices) {
  HH_PRECONDITION(std::int64_t(slices.size()) == (slices.empty() ? 0 : config_.ranks->size()),
                  slices.size() << " slices of a batch for " << config_.ranks->size() << " ranks");
  HH_PRECONDITION(config_.ranks->size() == 1 || !slices.empty(), "a batch without its slices");
  const int images = int(rows.size());
  const auto fits = [&] { return recorded_.graph && recorded_.step.pixels.dim(0) == images; };
  // The second batch of a size is worth a recording: libraries have chosen their algorithms by
  // then. A smaller one, the last of an epoch, is not.
  if (config_.graph && !fits() && images == eager_images_ &&
      (!recorded_.graph || recorded_.step.pixels.dim(0) < images)) {
    config_.graph = record(images);
  }
  if (fits()) {
    fill(recorded_.step, pixels, labels, rows);
    recorded_.graph->replay();
    ++accumulated_;
    return recorded_.step.loss;
  }
  eager_images_ = images;
  Step step;
  if (config_.ranks->size() > 1) step.slices.assign(slices.begin(), slices.end());
  fill(step, pixels, labels, rows);
  compute(step);
  ++accumulated_;
  return step.loss;
}

void Trainer::step(float learning_rate) {
  assert(accumulated_ > 0);
  const UseLayer layer({.layer = "optimizer"});
  const ProfileRange range("optimizer");
  optimizer_->step(learning_rate, 1 / (float(accumulated_) * (loss_scale_ ? scaler_.scale : 1)));
  if (loss_scale_) update_loss_scale();
  parameters_.zero_gradients();
  accumulated_ = 0;
}

void Trainer::update_loss_scale() {
  const float before = scaler_.scale;
  if (last_norm_) last_finite_ = std::isfinite(last_norm_->wait());
  if (last_finite_) scaler_.update(*std::exchange(last_finite_, std::nullopt));
  last_norm_ = optimizer_->norm_later();
  if (scaler_.scale != before) {
    log(LogLevel::kDebug, "loss scale " + std::to_string(scaler_.scale) + " after step " +
                              std::to_string(optimizer_->steps()));
    loss_scale_.copy_from(std::span<const float>(&scaler_.scale, 1));
  }
}

std::optional<Trainer::LossScaling> Trainer::loss_scaling() const {
  if (!loss_scale_) return std::nullopt;
  const std::optional<bool> finite = last_norm_ ? std::isfinite(last_norm_->wait()) : last_finite_;
  return LossScaling{.scaler = scaler_, .last_finite = finite};
}

void Trainer::set_loss_scaling(const LossScaling& scaling) {
  assert(loss_scale_);
  scaler_ = scaling.scaler;
  last_finite_ = scaling.last_finite;
  last_norm_ = nullptr;
  loss_scale_.copy_from(std::span<const float>(&scaler_.scale, 1));
}

}  // namespace hh
