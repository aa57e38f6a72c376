// SPDX-License-Identifier: Apache-2.0
// Training where libraries refuse calls: right results, or an end with one line that says why.
// Hidden: for a simulated GPU, which is told what to refuse (--deny).
#include <catch2/catch.hpp>
#include <cmath>

#include "engine/device/launch.h"
#include "kernels/core/philox.h"
#include "model/training/trainer.h"
#include "tests/support/device.h"

namespace hh {
namespace {

constexpr int kSteps = 50, kImages = 4, kSide = 16;
constexpr float kLearningRate = 1e-4f;  // steps add little to what bf16 rounds in a code

struct Outcome {
  std::vector<float> losses, first, last;  // the weights before and after
};

Outcome train(Device device, DType dtype) {
  TrainerConfig config;
  config.model.image_size = kSide;
  config.model.patch = 2;
  config.model.dims = {8, 16, 16};
  config.model.heads = {1, 2, 2};
  config.model.depths = {1, 1, 1};
  config.model.bits = 16;
  config.optimizer.kind = "sgd";
  config.dtype = dtype;
  config.bank_rows = 24;
  config.classes = 3;
  config.graph = true;
  Trainer trainer(config, device);
  trainer.parameters().initialise(1, {.fan_in = true});
  const auto weights = [&] { return trainer.parameters().flat_weights().to_host<float>(); };
  Outcome outcome{.losses = {}, .first = weights(), .last = {}};
  const Philox random(3, RandomPurpose::kTest);
  std::uint64_t draw = 0;
  for (int step = 0; step < kSteps; ++step) {
    std::vector<std::uint8_t> pixels(std::size_t{kImages} * kSide * kSide * 3);
    for (auto& pixel : pixels) pixel = std::uint8_t(random.below(draw++, 256));
    std::vector<std::uint64_t> labels;
    std::vector<std::int64_t> rows;
    for (int i = 0; i < kImages; ++i) {
      labels.push_back(std::uint64_t{1} << random.below(draw++, 3));
      rows.push_back((step * kImages + i) % 24);
    }
    const Tensor loss = trainer.accumulate(pixels, labels, rows);
    outcome.losses.push_back(loss.to_host<float>()[0]);
    trainer.step(kLearningRate);
  }
  outcome.last = weights();
  return outcome;
}

/// How far `ours` ended from `reference`, over the way that the latter went.
double off_course(const Outcome& ours, const Outcome& reference) {
  double off = 0, way = 0;
  for (std::size_t i = 0; i < reference.last.size(); ++i) {
    off += std::pow(double(ours.last[i]) - reference.last[i], 2);
    way += std::pow(double(reference.last[i]) - reference.first[i], 2);
  }
  return std::sqrt(off / way);
}

/// Of losses, relative; in f32 of the way of the weights as well. SGD adds gradients up, so that
/// errors of the sum are no larger than theirs: within 3e-4 of their norm in f32
/// (docs/specification.md, section 9); steps that start from slightly other weights have slightly
/// other gradients: twice that. In bf16 only codes and losses can be compared: both sides are
/// within 2^-9 * sqrt(10 roundings * 3 layers) * 2 of exact ones, as in apps/verify.
double tolerance(DType dtype) {
  return dtype == DType::f32 ? 2 * 3e-4 : 2 * 2 * 0x1p-9 * std::sqrt(30.0);
}

TEST_CASE("where libraries refuse calls, training is right or ends with one line", "[.refusals]") {
  const DType dtype = GENERATE(DType::f32, DType::bf16);
  CAPTURE(name(dtype));
  const Outcome reference = train(kCpu, dtype);
  CHECK(reference.losses.back() != reference.losses.front());
  try {
    const Outcome ours = train(testing::devices().front(), dtype);
    double worst = 0;
    for (std::size_t i = 0; i < kSteps; ++i) {
      const double error = std::abs(ours.losses[i] / double(reference.losses[i]) - 1);
      CAPTURE(i);
      CHECK(error <= tolerance(dtype));
      worst = std::max(worst, error);
    }
    if (dtype == DType::f32) CHECK(off_course(ours, reference) <= tolerance(dtype));
    WARN(name(dtype) << ": trained, off course by " << off_course(ours, reference)
                     << ", losses by up to " << worst);
  } catch (const std::runtime_error& end) {
    const std::string why = end.what();
    WARN(name(dtype) << ": ended: " << why);
    CHECK(!why.empty());
    CHECK(why.find('\n') == std::string::npos);
  }
}

}  // namespace
}  // namespace hh
