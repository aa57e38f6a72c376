// SPDX-License-Identifier: Apache-2.0
// Steps of several ranks against those of one, which each rank takes for itself as well. With one
// rank both are the same, bit for bit.
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "engine/distributed/ranks.h"
#include "engine/distributed/together.h"
#include "kernels/core/philox.h"
#include "model/training/same_weights.h"
#include "model/training/trainer.h"

namespace hh {
namespace {

constexpr std::int64_t kRows = 40;
constexpr int kClasses = 4, kSide = 32;

TrainerConfig micro(Communicator& ranks) {
  TrainerConfig config;
  config.model = HybridHashConfig::preset("micro");
  config.model.in_channels = 1;
  config.model.drop_path = 0.2f;
  config.optimizer.kind = "adamw";
  config.bank_rows = kRows;
  config.classes = kClasses;
  config.seed = 5;
  config.ranks = &ranks;
  return config;
}

struct Images {
  std::vector<std::uint8_t> pixels;
  std::vector<std::uint64_t> labels;
  std::vector<std::int64_t> rows;

  Images part(std::int64_t begin, std::int64_t end) const {
    constexpr std::ptrdiff_t kBytes = std::ptrdiff_t{kSide} * kSide;
    return {{pixels.begin() + begin * kBytes, pixels.begin() + end * kBytes},
            {labels.begin() + begin, labels.begin() + end},
            {rows.begin() + begin, rows.begin() + end}};
  }
};

Images images(int count, std::uint64_t seed) {
  const Philox random(seed, RandomPurpose::kTest);
  Images made;
  made.pixels.resize(std::size_t(count) * kSide * kSide);
  for (std::size_t i = 0; i < made.pixels.size(); ++i) {
    made.pixels[i] = std::uint8_t(random.below(i, 256));
  }
  for (int i = 0; i < count; ++i) {
    made.labels.push_back(std::uint64_t{1} << random.below(std::uint64_t(1'000'000 + i), kClasses));
    made.rows.push_back(std::int64_t(seed * 7 + std::uint64_t(i) * 3) % kRows);
  }
  return made;
}

/// ceil(count / ranks) images a rank, but for the last ones: some may have none.
std::vector<std::int64_t> slices_of(std::int64_t count, std::int64_t ranks) {
  std::vector<std::int64_t> slices;
  const std::int64_t per = (count + ranks - 1) / ranks;
  for (std::int64_t r = 0; r < ranks; ++r) {
    slices.push_back(std::min((r + 1) * per, count) - std::min(r * per, count));
  }
  return slices;
}

/// This rank's slice of the batch, accumulated. Gives the loss.
float accumulate(Trainer& trainer, const Images& batch, const std::vector<std::int64_t>& slices) {
  const auto rank = std::ptrdiff_t(trainer.config().ranks->rank());
  const auto begin = std::accumulate(slices.begin(), slices.begin() + rank, std::int64_t{0});
  const Images own = batch.part(begin, begin + slices[std::size_t(rank)]);
  return trainer.accumulate(own.pixels, own.labels, own.rows, slices).to_host<float>()[0];
}

struct Outcome {
  std::vector<float> losses;
  std::vector<float>
      gradient;  // rank 0's, or that of one process: AdamW's first mean is (1 - beta1) * gradient
  std::vector<float> weights, codes;
};

/// One step over batches of these sizes.
Outcome step(const TrainerConfig& config, const std::vector<int>& batches) {
  Communicator& all = *config.ranks;
  Trainer trainer(config, kCpu);
  trainer.parameters().initialise(1);
  Outcome outcome;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const auto slices = slices_of(batches[i], all.size());
    outcome.losses.push_back(accumulate(trainer, images(batches[i], i), slices));
  }
  trainer.step(1e-3f);
  check_same_weights(trainer);
  const Optimizer::State state = trainer.optimizer().whole_state();
  if (!state.empty()) outcome.gradient = state.front().second.to_host<float>();
  outcome.weights = trainer.parameters().flat_weights().to_host<float>();
  outcome.codes = trainer.bank().view().codes.to_host<float>();
  return outcome;
}

double relative_l2(const std::vector<float>& got, const std::vector<float>& want) {
  REQUIRE(got.size() == want.size());
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    difference += std::pow(double(got[i]) - double(want[i]), 2);
    size += std::pow(double(want[i]), 2);
  }
  REQUIRE(size > 0);
  return std::sqrt(difference / size);
}

struct Case {
  const char* name;
  std::vector<int> batches;
  DType dtype = DType::f32, bank = DType::f32;
  float clip = 0;
};

TEST_CASE("a step of several ranks is the step of one", "[training]") {
  Communicator& all = ranks();
  const Case c = GENERATE(values<Case>({
      {.name = "one batch", .batches = {16}},
      {.name = "slices of different sizes", .batches = {7}},
      {.name = "accumulation, and a short batch with empty slices", .batches = {8, 3, 1}},
      {.name = "f16 bank", .batches = {8, 5}, .bank = DType::f16},
      {.name = "clipped", .batches = {8}, .clip = 1e-3f},
      {.name = "bf16", .batches = {8, 3}, .dtype = DType::bf16, .bank = DType::bf16},
  }));
  CAPTURE(c.name);
  TrainerConfig config = micro(all), alone = micro(single_rank());
  for (TrainerConfig* each : {&config, &alone}) {
    each->dtype = c.dtype;
    each->bank_dtype = c.bank;
    each->optimizer.clip_norm = c.clip;
  }
  const Outcome got = step(config, c.batches), want = step(alone, c.batches);
  // Sums of float32 in another order: measured 5e-7. In bf16 the outputs of layers are rounded to
  // 8 bits, and a sum that falls to the other side differs by 2^-8.
  const double bar = c.dtype == DType::f32 ? 1e-5 : 1e-3;
  for (std::size_t i = 0; i < want.losses.size(); ++i) {
    CHECK(got.losses[i] == Approx(want.losses[i]).epsilon(bar));
  }
  CHECK(relative_l2(got.codes, want.codes) <= bar);
  if (all.rank() == 0) CHECK(relative_l2(got.gradient, want.gradient) <= bar);
  if (all.size() == 1) CHECK((got.weights == want.weights));
  // Again: the same bits.
  const Outcome again = step(config, c.batches);
  CHECK((again.losses == got.losses));
  CHECK((again.gradient == got.gradient));
  CHECK((again.weights == got.weights));
}

TEST_CASE("a mean of the ranks' own losses is another step", "[training]") {
  // The design that is wrong, as a control of the bar above: each rank its own loss and its own
  // bank, and the mean of their gradients.
  const std::int64_t n = std::max(ranks().size(), 2);
  const Images batch = images(16, 0);
  const auto slices = slices_of(16, n);
  std::vector<float> mean;
  std::int64_t begin = 0;
  for (const std::int64_t slice : slices) {
    TrainerConfig config = micro(single_rank());
    config.model.drop_path = 0;
    Trainer trainer(config, kCpu);
    trainer.parameters().initialise(1);
    accumulate(trainer, batch.part(begin, begin + slice), {slice});
    const auto gradient = trainer.parameters().flat_gradients().to_host<float>();
    mean.resize(gradient.size(), 0);
    for (std::size_t i = 0; i < gradient.size(); ++i) mean[i] += gradient[i] / float(n);
    begin += slice;
  }
  TrainerConfig config = micro(single_rank());
  config.model.drop_path = 0;
  Trainer whole(config, kCpu);
  whole.parameters().initialise(1);
  accumulate(whole, batch, {16});
  CHECK(relative_l2(mean, whole.parameters().flat_gradients().to_host<float>()) > 1e-2);
}

TEST_CASE("the optimiser's bits don't depend on the number of ranks", "[training]") {
  // Gradients of one rank and zeros of the others: their sum rounds nothing.
  Communicator& all = ranks();
  const std::string kind = GENERATE("adamw", "rmsprop", "sgd");
  CAPTURE(kind);
  const auto outcome = [&](Communicator& with) {
    Parameters parameters;
    // More than a message holds, and no multiple of a chunk.
    parameters.add("matrix", {1500, 1001}, Initialisation::kNormal);
    parameters.add("bias", {777}, Initialisation::kOne);
    parameters.place(kCpu, DType::bf16, /*trainable=*/true);
    parameters.initialise(3);
    Optimizer optimizer(
        {.kind = kind, .weight_decay = 0.1f, .decay_matrices_only = true, .clip_norm = 5},
        parameters, with);
    const Tensor& gradients = parameters.flat_gradients();
    std::vector<float> values(std::size_t(gradients.count()), 0);
    for (int i = 0; i < 3; ++i) {
      const Philox random(std::uint64_t(i), RandomPurpose::kTest);
      if (with.rank() == with.size() - 1) {
        for (std::size_t k = 0; k < values.size(); ++k) values[k] = random.uniform(k) - 0.4f;
      }
      gradients.copy_from(std::span<const float>(values));
      optimizer.step(1e-2f, 0.5f);
    }
    std::vector<std::vector<float>> result{{optimizer.norm()},
                                           parameters.flat_weights().to_host<float>(),
                                           parameters.flat_copies().to_host<float>()};
    for (const auto& [name, state] : optimizer.whole_state()) {
      result.push_back(state.to_host<float>());
    }
    return result;
  };
  auto got = outcome(all), want = outcome(single_rank());
  CHECK(got[0][0] > 5);                 // it was clipped
  if (all.rank() != 0) want.resize(3);  // the averages are rank 0's
  REQUIRE(got.size() == want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    CHECK((got[i] == want[i]));
  }
}

TEST_CASE("a step with a gradient that isn't finite is left out on all ranks", "[training]") {
  Communicator& all = ranks();
  Parameters parameters;
  parameters.add("matrix", {700, 300}, Initialisation::kNormal);
  parameters.place(kCpu, DType::f32, /*trainable=*/true);
  parameters.initialise(3);
  Optimizer optimizer({.kind = "adamw"}, parameters, all);
  const std::vector<float> before = parameters.flat_weights().to_host<float>();
  std::vector<float> values(before.size(), 1);
  if (all.rank() == all.size() - 1) values[5] = INFINITY;  // of rank 0's shard
  parameters.flat_gradients().copy_from(std::span<const float>(values));
  optimizer.step(1e-2f);
  CHECK(optimizer.skipped());
  CHECK((parameters.flat_weights().to_host<float>() == before));
}

TEST_CASE("ranks whose weights differ end with the parameter's name", "[training]") {
  Communicator& all = ranks();
  if (all.size() == 1) return;
  Trainer trainer(micro(all), kCpu);
  trainer.parameters().initialise(1);
  check_same_weights(trainer);
  const Parameter& other = trainer.parameters().all()[7];
  if (all.rank() == 1) other.weight().zero();
  try {
    check_same_weights(trainer);
    FAIL("nobody saw it");
  } catch (const OtherRankFailed&) {
    CHECK(all.rank() != 0);
  } catch (const std::runtime_error& error) {
    CHECK(all.rank() == 0);
    CHECK_THAT(error.what(), Catch::Contains("the weights of rank 1 ") &&
                                 Catch::Contains("(" + other.name() + " is the first"));
  }
}

TEST_CASE("an error of one rank is the error of all", "[together]") {
  Communicator& all = ranks();
  const int last = all.size() - 1;
  together(all, [] {});
  int done = 0;
  try {
    together(all, [&] {
      if (all.rank() == last) throw std::invalid_argument("mine");
      ++done;
    });
    FAIL("it went on");
  } catch (const OtherRankFailed&) {
    CHECK(all.rank() != last);
  } catch (const std::invalid_argument& error) {
    CHECK(error.what() == std::string("mine"));
    CHECK(all.rank() == last);
  }
  CHECK(done == (all.rank() == last ? 0 : 1));
}

}  // namespace
}  // namespace hh
