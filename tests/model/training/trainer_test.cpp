// SPDX-License-Identifier: Apache-2.0
// A training step on each device: recorded or not, it leaves the same bits; sizes may change.
#include "model/training/trainer.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "kernels/core/philox.h"
#include "model/training/checkpoint.h"
#include "tests/support/device.h"
#include "tests/support/temporary_folder.h"

namespace hh {
namespace {

TrainerConfig tiny(bool graph, Recompute recompute, DType dtype) {
  TrainerConfig config;
  config.model.image_size = 16;
  config.model.patch = 2;
  config.model.dims = {8, 16, 16};
  config.model.heads = {1, 2, 2};
  config.model.depths = {1, 1, 1};
  config.model.bits = 16;
  config.model.drop_path = 0.2f;
  config.optimizer.kind = "adamw";
  config.dtype = dtype;
  config.bank_rows = 24;
  config.classes = 3;
  config.seed = 5;
  config.recompute = recompute;
  config.graph = graph;
  return config;
}

struct Outcome {
  std::vector<float> losses, weights, codes;
  bool operator==(const Outcome&) const = default;
};

/// Steps over batches of the given sizes, two batches to a step.
Outcome train(Trainer& trainer, const std::vector<int>& sizes, std::uint64_t first_draw = 0) {
  const Philox random(3, RandomPurpose::kTest);
  std::uint64_t draw = first_draw;
  Outcome outcome;
  for (const int images : sizes) {
    std::vector<std::uint8_t> pixels(std::size_t(images) * 16 * 16 * 3);
    for (auto& pixel : pixels) pixel = std::uint8_t(random.below(draw++, 256));
    std::vector<std::uint64_t> labels(static_cast<std::size_t>(images));
    std::vector<std::int64_t> rows(labels.size());
    for (std::size_t i = 0; i < labels.size(); ++i) {
      labels[i] = std::uint64_t{1} << random.below(draw++, 3);
      rows[i] = std::int64_t((draw + i) % 24);
    }
    const Tensor loss = trainer.accumulate(pixels, labels, rows);
    outcome.losses.push_back(loss.to_host<float>()[0]);
    if (trainer.accumulated() == 2) trainer.step(1e-3f);
  }
  outcome.weights = trainer.parameters().flat_weights().to_host<float>();
  outcome.codes = trainer.bank().view().codes.to_host<float>();
  return outcome;
}

Outcome train(Device device, const TrainerConfig& config, const std::vector<int>& sizes) {
  Trainer trainer(config, device);
  trainer.parameters().initialise(1);
  return train(trainer, sizes);
}

TEST_CASE("a replayed training step leaves the bits of one launched kernel by kernel",
          "[trainer]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const auto recompute = GENERATE(Recompute::kNone, Recompute::kLayer);
  const DType dtype = GENERATE(DType::f32, DType::bf16, DType::f16);
  if (dtype == DType::f16 && device == kCpu) return;  // f16 is for GPUs
  CAPTURE(device, int(recompute), name(dtype));
  // Short batches come between full ones; the graph must not mind, nor a larger size later.
  const std::vector<int> sizes{4, 4, 4, 3, 4, 4, 3, 6, 6, 6, 4, 6};
  const Outcome eager = train(device, tiny(false, recompute, dtype), sizes);
  const Outcome replayed = train(device, tiny(true, recompute, dtype), sizes);
  CHECK(eager.losses.front() > 0);
  CHECK(eager.losses != std::vector<float>(eager.losses.size(), eager.losses.front()));
  CHECK(replayed.losses == eager.losses);
  CHECK(replayed.weights == eager.weights);
  CHECK(replayed.codes == eager.codes);
}

TEST_CASE("a replayed step asks the device for no memory", "[trainer]") {
  const Device device = GENERATE(from_range(testing::devices()));
  Trainer trainer(tiny(true, Recompute::kNone, DType::f32), device);
  trainer.parameters().initialise(1);
  const std::vector<std::uint8_t> pixels(std::size_t{4} * 16 * 16 * 3, 100);
  const std::vector<std::uint64_t> labels(4, 1);
  const std::vector<std::int64_t> rows{0, 1, 2, 3};
  const auto step = [&] {
    trainer.accumulate(pixels, labels, rows);
    trainer.step(1e-3f);
  };
  for (int i = 0; i < 3; ++i) step();
  const MemoryStatistics before = memory_statistics(device);
  for (int i = 0; i < 3; ++i) step();
  const MemoryStatistics after = memory_statistics(device);
  CHECK(after.device_allocations == before.device_allocations);
  CHECK(after.in_use == before.in_use);
  CHECK(trainer.recorded() == (device != kCpu));
}

TEST_CASE("in f16 a step that overflows is left out, and the loss scale halves", "[trainer]") {
  for (const Device device : testing::devices_of<f16>()) {
    TrainerConfig config = tiny(true, Recompute::kNone, DType::f16);
    config.alpha = 64;  // gradients large enough to overflow
    Trainer trainer(config, device);
    trainer.parameters().initialise(1);
    trainer.set_loss_scaling({.scaler = {.scale = LossScaler::kMost}, .last_finite = {}});
    bool overflowed = false, stepped = false;
    for (std::uint64_t step = 0; step < 12; ++step) {
      const std::vector<float> before = trainer.parameters().flat_weights().to_host<float>();
      const Outcome outcome = train(trainer, {4, 4}, 10000 * step);
      const bool finite = trainer.loss_scaling()->last_finite.value();
      CHECK((outcome.weights != before) == finite);
      CHECK(std::isfinite(outcome.losses[1]));
      (finite ? stepped : overflowed) = true;
    }
    CHECK(overflowed);
    CHECK(stepped);
    CHECK(trainer.loss_scaling()->scaler.scale < LossScaler::kMost);
  }
}

TEST_CASE("in f16 a checkpoint goes on bit for bit while the loss scale changes", "[trainer]") {
  for (const Device device : testing::devices_of<f16>()) {
    TrainerConfig config = tiny(true, Recompute::kNone, DType::f16);
    config.alpha = 64;
    const std::vector<int> sizes(10, 4);
    const testing::TemporaryFolder folder;
    Trainer whole(config, device), resumed(config, device);
    whole.parameters().initialise(1);
    whole.set_loss_scaling({.scaler = {.scale = LossScaler::kMost}, .last_finite = {}});
    train(whole, {4, 4, 4, 4});
    save_checkpoint(folder / "at4.safetensors", whole, {});
    load_checkpoint(folder / "at4.safetensors", resumed);
    CHECK(train(whole, sizes, 100) == train(resumed, sizes, 100));
    CHECK(whole.loss_scaling()->scaler.scale == resumed.loss_scaling()->scaler.scale);
    CHECK(whole.loss_scaling()->scaler.finite_steps == resumed.loss_scaling()->scaler.finite_steps);
  }
}

TEST_CASE("the CPU refuses f16 with the cure", "[trainer]") {
  Trainer trainer(tiny(true, Recompute::kNone, DType::f16), kCpu);
  CHECK_THROWS_WITH(train(trainer, {4}), Catch::Contains("on a GPU only; use bf16 or f32"));
}

TEST_CASE("a batch of the wrong size or an unknown row is refused", "[trainer]") {
  Trainer trainer(tiny(true, Recompute::kNone, DType::f32), kCpu);
  const std::vector<std::uint8_t> pixels(std::size_t{2} * 16 * 16 * 3);
  const std::vector<std::uint64_t> labels(2, 1);
  CHECK_THROWS_WITH(
      trainer.accumulate(std::span(pixels).first(10), labels, std::vector<std::int64_t>{0, 1}),
      Catch::Contains("10 pixel values"));
  CHECK_THROWS_WITH(trainer.accumulate(pixels, labels, std::vector<std::int64_t>{0, 24}),
                    Catch::Contains("training image 24"));
}

}  // namespace
}  // namespace hh
