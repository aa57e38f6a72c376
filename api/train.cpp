// SPDX-License-Identifier: Apache-2.0
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "api/boundary.h"
#include "api/gpu_turn.h"
#include "engine/device/signal_stack.h"
#include "kernels/core/parallel.h"
#include "pipeline/training_run.h"

using namespace hh::api;
namespace pipeline = hh::pipeline;

namespace {

double last_value(const pipeline::MetricsLog& log, const char* column, int epoch,
                  double otherwise) {
  const auto values = log.column(column);
  return !values.epochs.empty() && int(values.epochs.back()) == epoch ? values.values.back()
                                                                      : otherwise;
}

void tell_epoch(const hh_train_options& o, const pipeline::MetricsLog& log, int epochs) {
  const auto losses = log.column("loss");
  if (losses.epochs.empty()) return;
  const int epoch = int(losses.epochs.back());
  const double held_out = last_value(log, "held_out_map", epoch, -1);
  const hh_epoch told{.size = sizeof(hh_epoch),
                      .epoch = epoch,
                      .epochs = epochs,
                      .loss = losses.values.back(),
                      .learning_rate = last_value(log, "learning_rate", epoch, 0),
                      .images_per_second = last_value(log, "images_per_s", epoch, 0),
                      .map = last_value(log, "query_map", epoch, held_out)};
  o.epoch(&told, o.user);
}

/// Gives the GPU to others while it lives; nothing where none is held.
class Pause {
 public:
  explicit Pause(std::unique_lock<CallMutex>& turn) : turn_(turn), held_(turn.owns_lock()) {
    if (held_) turn_.unlock();
  }
  ~Pause() {
    if (held_) turn_.lock();
  }
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;

 private:
  std::unique_lock<CallMutex>& turn_;
  bool held_;
};

/// Each of the caller's functions, and the look at `stop` after each step, is a moment in which
/// others may have the GPU.
pipeline::TrainingRun::Hooks hooks(const hh_train_options& o, int epochs,
                                   std::unique_lock<CallMutex>& gpu) {
  pipeline::TrainingRun::Hooks hooks;
  hooks.stop = [o, &gpu] {
    const Pause pause(gpu);
    return o.stop != nullptr && o.stop(o.user) != 0;
  };
  if (o.epoch != nullptr) {
    hooks.epoch_ended = [o, epochs, &gpu](const pipeline::MetricsLog& log) {
      const Pause pause(gpu);
      tell_epoch(o, log, epochs);
    };
  }
  if (o.message != nullptr) {
    hooks.listener.report = [o, &gpu](const std::string& text) {
      const Pause pause(gpu);
      o.message(text.c_str(), 0, o.user);
    };
    hooks.listener.warn = [o, &gpu](const std::string& text) {
      const Pause pause(gpu);
      o.message(text.c_str(), 1, o.user);
    };
  }
  if (o.progress != nullptr) {
    hooks.listener.progress = [o, &gpu](const pipeline::ProgressState& state) {
      const Pause pause(gpu);
      o.progress(state.what.c_str(), state.done, state.total, state.detail.c_str(), o.user);
    };
  }
  return hooks;
}

}  // namespace

hh_status hh_train(const char* recipe, const char* folder, const hh_train_options* options) {
  return guarded([&] {
    static CallMutex one_at_a_time(
        "a training from inside another one's callback: wait for its end");
    const std::scoped_lock lock(one_at_a_time);
    const hh_train_options o =
        options_or(options, hh_train_options HH_TRAIN_OPTIONS_INIT, "options");
    const auto settings = texts(o.settings, o.setting_count, "settings");
    const std::string place = &needed(folder, "folder");
    HH_REQUIRE(o.resume == 0 || recipe == nullptr,
               "resume goes on with the recipe in " << place << ": give no recipe");
    const pipeline::Recipe of_run = o.resume != 0
                                        ? pipeline::TrainingRun::recipe_of(place, settings)
                                        : pipeline::Recipe::read(text_or_empty(recipe), settings);
    const hh::Device device = hh::parse_device(o.device == nullptr ? "cpu" : o.device);
    hh::use_signal_stack();  // Python's handler of Ctrl-C takes it
    std::optional<hh::cpu::ThreadLimit> limit;
    if (of_run.train.threads > 0) limit.emplace(of_run.train.threads);
    std::unique_lock<CallMutex> gpu;
    if (device != hh::kCpu) gpu = std::unique_lock(gpu_turn());
    const auto told = hooks(o, of_run.train.epochs, gpu);
    auto run = o.resume != 0 ? pipeline::TrainingRun::resume(of_run, place, device, told,
                                                             o.allow_changed_data != 0)
                             : pipeline::TrainingRun(of_run, place, device, told);
    if (!run.run()) throw Stopped();
  });
}
