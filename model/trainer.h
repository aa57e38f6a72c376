// A network in training: its parameters, optimiser, memory bank and the number of steps done, which
// is all that a resumed run needs besides its place in the data.
#pragma once
#include <memory>
#include <span>

#include "engine/optimizer.h"
#include "model/hybridhash.h"
#include "model/memory_bank.h"
#include "model/pixels.h"

namespace hh {

struct TrainerConfig {
  HybridHashConfig model;
  OptimizerConfig optimizer;
  PixelStatistics pixels;
  DType dtype = DType::f32;       // of activations: f32, or bf16 with f32 master weights
  DType bank_dtype = DType::f32;  // f32, f16, bf16
  std::int64_t bank_rows = 0;     // training images
  int classes = 0;
  float alpha = 0.5f;
  std::uint64_t seed = 0;  // of drop path
  Recompute recompute = Recompute::kNone;
};

class Trainer {
 public:
  /// The weights start at zero: initialise or load them.
  Trainer(const TrainerConfig& config, Device device);

  /// Forward and backward of one batch; gradients add up until step(). Returns the batch's loss,
  /// still on the device. pixels [B, S, S, C], labels [B, words], rows [B] (bank rows).
  Tensor accumulate(std::span<const std::uint8_t> pixels, std::span<const std::uint64_t> labels,
                    std::span<const std::int64_t> rows);
  /// Optimiser step with the mean of the gradients accumulated since the last one, which it clears.
  void step(float learning_rate);
  /// Batches accumulated since the last step.
  int accumulated() const { return accumulated_; }

  const TrainerConfig& config() const { return config_; }
  Device device() const { return device_; }
  Parameters& parameters() { return parameters_; }
  const HybridHash& network() const { return network_; }
  Optimizer& optimizer() { return *optimizer_; }
  MemoryBank& bank() { return bank_; }

 private:
  Tensor drop_path(int images) const;

  TrainerConfig config_;
  Device device_;
  Parameters parameters_;
  HybridHash network_;
  std::unique_ptr<Optimizer> optimizer_;
  MemoryBank bank_;
  std::vector<float> drop_path_rates_;
  int accumulated_ = 0;
};

}  // namespace hh
