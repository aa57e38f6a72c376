// SPDX-License-Identifier: Apache-2.0
// A network in training: its parameters, optimiser, memory bank and the number of steps done, which
// is all that a resumed run needs besides its place in the data.
#pragma once
#include <memory>
#include <optional>
#include <span>

#include "engine/device/backend.h"
#include "engine/distributed/communicator.h"
#include "engine/optim/loss_scaler.h"
#include "engine/optim/optimizer.h"
#include "model/hybridhash/hybridhash.h"
#include "model/training/memory_bank.h"
#include "model/training/pixels.h"

namespace hh {

struct TrainerConfig {
  HybridHashConfig model;
  OptimizerConfig optimizer;
  PixelStatistics pixels;
  DType dtype = DType::f32;       // of activations: f32; bf16 or f16 with f32 master weights
  DType bank_dtype = DType::f32;  // f32, f16, bf16
  std::int64_t bank_rows = 0;     // training images
  int classes = 0;
  float alpha = 0.5f;
  std::uint64_t seed = 0;  // of drop path
  Recompute recompute = Recompute::kNone;
  bool graph = true;  // on a GPU: replay the recorded launches of a step; the same bits either way
  /// Who trains together: each rank with a trainer of the same configuration.
  Communicator* ranks = &single_rank();
};

class Trainer {
 public:
  /// The weights start at zero: initialise or load them.
  Trainer(const TrainerConfig& config, Device device);

  /// Forward and backward of one batch; gradients add up until step(). Returns the batch's loss,
  /// still on the device and valid until the next call. pixels [B, S, S, C], labels [B, words],
  /// rows [B] (bank rows).
  /// With several ranks they are this rank's slice of the batch, which may be empty, and
  /// slices [ranks] are the numbers of images of all slices, which are not all 0: the loss is the
  /// whole batch's on all ranks, and the gradients are this slice's share of its gradient.
  Tensor accumulate(std::span<const std::uint8_t> pixels, std::span<const std::uint64_t> labels,
                    std::span<const std::int64_t> rows, std::span<const std::int64_t> slices = {});
  /// Optimiser step with the mean of the gradients accumulated since the last one, which it clears;
  /// with the sums over the ranks of them.
  void step(float learning_rate);
  /// Batches accumulated since the last step.
  int accumulated() const { return accumulated_; }
  /// What a resumed run needs to scale losses as this one will (f16 only). Waits for the device.
  struct LossScaling {
    LossScaler scaler;
    std::optional<bool> last_finite;  // outcome of the last step, which it hasn't heard of yet
  };
  std::optional<LossScaling> loss_scaling() const;
  void set_loss_scaling(const LossScaling& scaling);
  /// Whether the steps to come may be recorded, as TrainerConfig::graph. Those of several ranks
  /// aren't: what they say to each other is not recorded.
  void use_graph(bool on) { config_.graph = on && config_.ranks->size() == 1; }
  /// Whether full batches are replayed from a recording.
  bool recorded() const { return recorded_.graph != nullptr; }

  const TrainerConfig& config() const { return config_; }
  Device device() const { return device_; }
  Parameters& parameters() { return parameters_; }
  const HybridHash& network() const { return network_; }
  Optimizer& optimizer() { return *optimizer_; }
  MemoryBank& bank() { return bank_; }

 private:
  /// What a batch brings to the device, and the loss it leaves.
  struct Step {
    Tensor pixels;     // [B, S, S, C] u8
    Tensor drop_path;  // [2 * layers, B] scales; empty: none
    MemoryBank::Batch batch;
    std::vector<std::int64_t> slices;  // [ranks] images; empty: the batch is all here
    Tensor loss;                       // [1]
  };
  /// A step recorded, with the memory that it works in.
  struct RecordedStep {
    std::shared_ptr<MemoryPool> pool;
    Step step;
    std::unique_ptr<LaunchGraph> graph;  // last: it goes before the memory
  };

  /// Tells the scaler of the last step but this one; the batches to come take its factor.
  void update_loss_scale();
  /// For images `first` and following of the batch.
  void draw_drop_path(const Tensor& scale, std::int64_t first) const;
  /// Brings a batch to the tensors of `step`.
  void fill(Step& step, std::span<const std::uint8_t> pixels, std::span<const std::uint64_t> labels,
            std::span<const std::int64_t> rows) const;
  /// Forward and backward, nothing that waits or speaks to the host.
  void compute(Step& step);
  /// The loss of the codes [images, bits] of step's images and those of the other ranks.
  Tensor loss_of(const Tensor& code, const Step& step);
  /// Records compute() for batches of this size. False where that can't be done, for good.
  bool record(int images);

  TrainerConfig config_;
  Device device_;
  Parameters parameters_;
  HybridHash network_;
  std::unique_ptr<Optimizer> optimizer_;
  MemoryBank bank_;
  std::vector<float> drop_path_rates_;
  int accumulated_ = 0;
  // f16 only. The scaler hears of a step's outcome one step later, when a GPU has long passed it.
  LossScaler scaler_;
  Tensor loss_scale_;                // [1] f32: the factor of the batches to come
  std::optional<bool> last_finite_;  // as a resumed run was told
  std::unique_ptr<PendingFloat> last_norm_;
  int eager_images_ = 0;  // size of the last batch that was not replayed
  RecordedStep recorded_;
};

}  // namespace hh
