#include "model/trainer.h"

#include "engine/launch.h"
#include "kernels/random/drop_path_scale.h"

namespace hh {

Trainer::Trainer(const TrainerConfig& config, Device device)
    : config_(config),
      device_(device),
      network_(config.model, parameters_),
      bank_(config.bank_rows, config.model.bits, config.classes, config.bank_dtype, device),
      drop_path_rates_(network_.drop_path_rates()) {
  parameters_.place(device, config.dtype, /*trainable=*/true);
  optimizer_ = std::make_unique<Optimizer>(config.optimizer, parameters_);
}

Tensor Trainer::drop_path(int images) const {
  if (config_.model.drop_path == 0) return {};
  const int rows = int(drop_path_rates_.size());
  const Tensor scale({rows, images}, DType::f32, device_);
  // Batches of one step must not repeat each other's draws.
  const auto draw = std::uint64_t(optimizer_->steps()) << 16 | std::uint64_t(accumulated_);
  launch(device_, DropPathScale{.rate = drop_path_rates_.data(),
                                .scale = scale.data<float>(),
                                .rows = rows,
                                .images = images,
                                .seed = config_.seed,
                                .step = draw});
  return scale;
}

Tensor Trainer::accumulate(std::span<const std::uint8_t> pixels,
                           std::span<const std::uint64_t> labels,
                           std::span<const std::int64_t> rows) {
  const Tensor input = patch_rows(network_, pixels, config_.pixels, config_.dtype, device_);
  const ForwardOptions options{.drop_path = drop_path(int(rows.size())),
                               .recompute = config_.recompute};
  Tape tape;
  Tensor loss;
  {
    const Recording record(&tape);
    const HashCode out = network_.forward(input, options);
    loss = bank_.loss(out.code, labels, rows, config_.alpha).loss;
  }
  tape.backward();
  ++accumulated_;
  return loss;
}

void Trainer::step(float learning_rate) {
  assert(accumulated_ > 0);
  optimizer_->step(learning_rate, 1 / float(accumulated_));
  parameters_.zero_gradients();
  accumulated_ = 0;
}

}  // namespace hh
