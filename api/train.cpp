// SPDX-License-Identifier: Apache-2.0
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "api/boundary.h"
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

pipeline::TrainingRun::Hooks hooks(const hh_train_options& o, int epochs) {
  pipeline::TrainingRun::Hooks hooks;
  if (o.stop != nullptr) hooks.stop = [o] { return o.stop(o.user) != 0; };
  if (o.epoch != nullptr) {
    hooks.epoch_ended = [o, epochs](const pipeline::MetricsLog& log) {
      tell_epoch(o, log, epochs);
    };
  }
  if (o.message != nullptr) {
    hooks.listener.report = [o](const std::string& text) { o.message(text.c_str(), 0, o.user); };
    hooks.listener.warn = [o](const std::string& text) { o.message(text.c_str(), 1, o.user); };
  }
  if (o.progress != nullptr) {
    hooks.listener.progress = [o](const pipeline::ProgressState& state) {
      o.progress(state.what.c_str(), state.done, state.total, state.detail.c_str(), o.user);
    };
  }
  return hooks;
}

}  // namespace

hh_status hh_train(const char* recipe, const char* folder, const hh_train_options* options) {
  return guarded([&] {
    static std::mutex one_at_a_time;
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
    const auto told = hooks(o, of_run.train.epochs);
    auto run = o.resume != 0 ? pipeline::TrainingRun::resume(of_run, place, device, told,
                                                             o.allow_changed_data != 0)
                             : pipeline::TrainingRun(of_run, place, device, told);
    if (!run.run()) throw Stopped();
  });
}
