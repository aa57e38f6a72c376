// SPDX-License-Identifier: Apache-2.0
// hybridhash bench: images per second of whole training steps and of encoding, with made-up images.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "apps/commands/command.h"
#include "apps/terminal/shown_text.h"
#include "engine/device/backend.h"
#include "engine/tensor/network_type.h"
#include "engine/text/json_text.h"
#include "kernels/core/parallel.h"
#include "kernels/core/philox.h"
#include "kernels/core/simd.h"
#include "model/hybridhash/batch_codes.h"
#include "model/training/trainer.h"

namespace hh::apps {
namespace {

struct Options {
  std::string config = "micro", mode = "train", dtype = "f32";
  int batch = 64;
  int bits = 32;
  double seconds = 5;
  int steps = 0;  // 0: by seconds
  std::string recompute = "none";
  bool no_graph = false;
  bool json = false;
  ComputeOptions compute;
};

constexpr int kClasses = 10;
constexpr std::int64_t kBankRows = 5000;

double peak_rss_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_maxrss) / 1024;
}

/// Seconds of each call of `step`: of just `steps` calls, or if that is 0, after two that warm up,
/// for about `seconds`, at least three.
template <class Step>
std::vector<double> time_steps(int steps, double seconds, Step step) {
  using Clock = std::chrono::steady_clock;
  if (steps == 0) {
    step();
    step();
  }
  std::vector<double> times;
  const auto start = Clock::now();
  const auto done = [&] {
    if (steps > 0) return times.size() == std::size_t(steps);
    return times.size() >= 3 &&
           std::chrono::duration<double>(Clock::now() - start).count() >= seconds;
  };
  while (!done()) {
    const auto before = Clock::now();
    step();
    times.push_back(std::chrono::duration<double>(Clock::now() - before).count());
  }
  std::sort(times.begin(), times.end());
  return times;
}

void run(const Options& o) {
  const Device device = o.compute.apply();
  HybridHashConfig model = HybridHashConfig::preset(o.config);
  model.bits = o.bits;
  model.drop_path = 0;
  model.validate();
  const NetworkType type = network_type(o.dtype);
  const DType dtype = type.activations;
  HH_REQUIRE(!type.quantised || o.mode == "encode",
             "dtype int8 is for --mode encode: networks train in f32 or bf16");
  const Philox random(1, RandomPurpose::kTest);
  std::vector<std::uint8_t> pixels(std::size_t(o.batch) * std::size_t(model.image_size) *
                                   std::size_t(model.image_size * model.in_channels));
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = std::uint8_t(random.word(i) >> 24);
  std::vector<std::uint64_t> labels(static_cast<std::size_t>(o.batch));
  std::vector<std::int64_t> rows(labels.size());
  for (std::size_t i = 0; i < labels.size(); ++i) {
    labels[i] = std::uint64_t{1} << (i % kClasses);
    rows[i] = std::int64_t(i);
  }

  std::vector<double> times;
  if (o.mode == "train") {
    Trainer trainer({.model = model,
                     .dtype = dtype,
                     .bank_rows = std::max<std::int64_t>(kBankRows, o.batch),
                     .classes = kClasses,
                     .recompute = recompute_named(o.recompute),
                     .graph = !o.no_graph},
                    device);
    trainer.parameters().initialise(1);
    times = time_steps(o.steps, o.seconds, [&] {
      trainer.accumulate(pixels, labels, rows);
      trainer.step(2.5e-5f);
      backend(device).synchronize();
    });
  } else {
    Parameters parameters;
    const HybridHash network(model, parameters);
    parameters.place(device, dtype, /*trainable=*/false);
    parameters.initialise(1);
    type.quantised ? parameters.quantise() : parameters.pack();
    BatchCodes codes(network, {}, dtype, device, !o.no_graph);
    times = time_steps(o.steps, o.seconds, [&] { codes.put(pixels); });
    codes.finish();
  }
  const double median = times[times.size() / 2], best = times.front();
  const MemoryStatistics memory = memory_statistics(device);
  if (o.json) {
    say("{}\n", json_text(nlohmann::ordered_json{
                    {"config", o.config},
                    {"mode", o.mode},
                    {"batch", o.batch},
                    {"dtype", o.dtype},
                    {"device", to_string(device)},
                    {"simd", cpu::simd_in_use()},
                    {"threads", cpu::num_threads()},
                    {"steps", times.size()},
                    {"median_s", median},
                    {"min_s", best},
                    {"images_per_s", o.batch / median},
                    {"best_images_per_s", o.batch / best},
                    {"peak_rss_mib", peak_rss_mib()},
                    {"peak_tensor_mib", double(memory.peak_in_use) / 0x1p20}}));
    return;
  }
  say("{} {} batch {} {} on {} ({}, {} threads): {:.1f} images/s (best {:.1f}), {:.1f} ms a "
      "step, peak memory {:.0f} MiB, of it tensors {:.0f} MiB\n",
      o.config, o.mode, o.batch, o.dtype, to_string(device), cpu::simd_in_use(), cpu::num_threads(),
      o.batch / median, o.batch / best, median * 1e3, peak_rss_mib(),
      double(memory.peak_in_use) / 0x1p20);
}

}  // namespace

void add_bench(Command program) {
  auto options = std::make_shared<Options>();
  Command command =
      program.add_subcommand("bench", "Measure training and encoding speed with made-up images");
  command.add_option("--config", options->config, "paper, class-default or micro")
      .capture_default_str();
  command.add_option("--mode", options->mode, "train or encode")
      .one_of({"train", "encode"})
      .capture_default_str();
  command.add_option("--batch", options->batch).check(within(1, 65536)).capture_default_str();
  command.add_option("--bits", options->bits).check(within(1, 512)).capture_default_str();
  command.add_option("--dtype", options->dtype)
      .one_of({"f32", "bf16", "int8", "f16"})
      .capture_default_str();
  command.add_option("--seconds", options->seconds, "time to measure for")
      .check(within(.001, 86400.))
      .capture_default_str();
  command
      .add_option("--steps", options->steps,
                  "just so many steps, none to warm up: for a profiler or a simulator")
      .check(within(1, 1000000));
  command.add_option("--recompute", options->recompute, "in backward: none, mlp or layer")
      .one_of({"none", "mlp", "layer"})
      .capture_default_str();
  command.add_flag("--no-graph", options->no_graph,
                   "on a GPU, launch each kernel of a step or batch by itself");
  command.add_flag("--json", options->json, "one line of JSON");
  options->compute.add_to(command);
  add_examples(command,
               "  hybridhash bench --config micro --mode train --batch 64\n"
               "  hybridhash bench --config paper --mode encode --batch 8 --threads 2\n");
  command.callback([options] { run(*options); });
}

}  // namespace hh::apps
