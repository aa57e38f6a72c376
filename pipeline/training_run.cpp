// SPDX-License-Identifier: Apache-2.0
#include "pipeline/training_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <unordered_set>

#include "data/experiments/split_file.h"
#include "engine/distributed/together.h"
#include "engine/files/file.h"
#include "engine/text/counted.h"
#include "engine/text/json_error.h"
#include "engine/text/json_text.h"
#include "engine/text/utf8.h"
#include "model/training/generator.h"
#include "model/training/same_weights.h"
#include "pipeline/encoder.h"
#include "pipeline/experiment.h"
#include "pipeline/shared_run.h"
#include "retrieval/metrics/metrics.h"

namespace hh::pipeline {
namespace {

constexpr const char* kRecipeFile = "recipe.toml";
constexpr const char* kMetricsFile = "metrics.csv";
constexpr const char* kCheckpointFile = "last.safetensors";
constexpr const char* kBestFile = "best.safetensors";
constexpr const char* kBestByQueryFile = "best_by_query.safetensors";
constexpr std::int64_t kStepsPerPoint = 10;   // of TensorBoard's loss within epochs
constexpr std::int64_t kStop = 1, kSave = 2;  // what a rank may wish after a step
constexpr const char* kMetricsHeader =
    "epoch,steps,loss,learning_rate,images_per_s,seconds,held_out_map,query_map\n";

}  // namespace

TrainingRun::TrainingRun(const Recipe& recipe, const std::filesystem::path& folder, Device device,
                         const Hooks& hooks)
    : TrainingRun(recipe, folder, device, hooks, /*resuming=*/false) {}

namespace {

/// Makes the folder if need be. A new run doesn't take one that holds a run.
FolderLock lock_of(const std::filesystem::path& folder, bool resuming) {
  const auto check = [&] {
    HH_REQUIRE(
        resuming || !std::filesystem::exists(folder / kRecipeFile),
        folder.string() << " already holds a run: continue it with --resume, or choose another "
                           "folder with --out");
  };
  check();
  std::filesystem::create_directories(folder);
  FolderLock lock(folder, "another training writes to this folder; wait for it, or choose another");
  check();  // another may have begun and ended between
  return lock;
}

}  // namespace

Recipe TrainingRun::recipe_of(const std::filesystem::path& folder,
                              const std::vector<std::string>& settings) {
  HH_REQUIRE(std::filesystem::exists(folder / kRecipeFile),
             folder.string() << " holds no training run (" << kRecipeFile
                             << " is missing): give the folder that train --out made");
  return Recipe::read(folder / kRecipeFile, settings);
}

TrainingRun TrainingRun::resume(const Recipe& recipe, const std::filesystem::path& folder,
                                Device device, const Hooks& hooks, bool allow_changed_data) {
  return TrainingRun(recipe, folder, device, hooks, /*resuming=*/true, allow_changed_data);
}

namespace {

TrainingRun::Hooks hooks_of_rank(const TrainingRun::Hooks& hooks) {
  TrainingRun::Hooks own = hooks;
  own.listener = listener_of(*hooks.ranks, hooks.listener);
  if (hooks.ranks->rank() != 0) own.epoch_ended = [](const MetricsLog&) {};
  return own;
}

}  // namespace

TrainingRun::TrainingRun(const Recipe& recipe, const std::filesystem::path& folder, Device device,
                         const Hooks& hooks, bool resuming, bool allow_changed_data)
    : recipe_(recipe.with_absolute_paths()),
      folder_(folder),
      device_(device),
      hooks_(std::make_unique<const Hooks>(hooks_of_rank(hooks))) {
  check_same_recipe(ranks(), recipe_, folder_, resuming);
  together(ranks(), [&] { prepare(recipe, resuming, allow_changed_data); });
  check_same_data(ranks(), *experiment_.dataset, experiment_.split, train_items_);
  together(ranks(), [&] {
    if (resuming) return load_checkpoint();
    initialise();
    if (!writes()) return;
    write_file_atomically(folder / kMetricsFile, kMetricsHeader);
    data::write_split(folder / kSplitFile, experiment_.split, held_out_items_, *experiment_.dataset,
                      recipe.data.protocol, std::uint64_t(recipe.data.split_seed));
  });
  if (resuming) {
    check_same_weights(*trainer_, folder_ / kCheckpointFile);
  } else {
    save_checkpoint();
  }
  together(ranks(), [&] {
    if (!writes()) return;
    // Last: a folder with a recipe can be resumed, whenever the run was killed.
    write_file_atomically(folder / kRecipeFile, recipe_.to_toml());
    const std::int64_t next_step = trainer_->optimizer().steps() + 1;
    events_ = std::make_unique<EventFile>(
        folder, resuming ? std::optional<std::int64_t>(next_step) : std::nullopt);
  });
}

void TrainingRun::prepare(const Recipe& recipe, bool resuming, bool allow_changed_data) {
  HH_REQUIRE(recipe.train.dtype != "f16" || device_ != kCpu,
             "train.dtype = f16 needs a GPU; use bf16 or f32 on the CPU");
  if (writes()) {
    lock_.emplace(lock_of(folder_, resuming));
    for (const char* file : {kCheckpointFile, kBestFile, kBestByQueryFile}) {
      remove_left_temporaries(folder_ / file);  // of a run that was killed while it wrote
    }
  }
  experiment_ = open_experiment(recipe, resuming ? folder_ / kSplitFile : std::filesystem::path(),
                                allow_changed_data);
  choose_held_out(recipe);
  std::string described = data::describe(experiment_);
  if (described.ends_with('\n')) described.pop_back();
  hooks_->listener.report(described);
  use_cache(experiment_, recipe, images_in_use(recipe), hooks_->listener);
  loader_ = std::make_unique<data::Loader>(
      *experiment_.dataset, train_items_, experiment_.train_transform,
      data::LoaderOptions{.batch_size = recipe.train.batch,
                          .shuffle = true,
                          .seed = std::uint64_t(recipe.train.seed),
                          .workers = recipe.data.workers,
                          .skip_bad = recipe.data.skip_bad,
                          .slice = ranks().rank(),
                          .slices = ranks().size()});
  make_trainer(recipe);
}

void TrainingRun::choose_held_out(const Recipe& recipe) {
  train_items_ = experiment_.split.train;
  HH_REQUIRE(recipe.evaluate.hold_out < std::int64_t(train_items_.size()),
             "evaluate.hold_out = " << recipe.evaluate.hold_out << ": use fewer than the "
                                    << counted(train_items_.size(), "training image"));
  const std::vector<std::int64_t>& saved = experiment_.held_out;
  if (!saved.empty() && std::int64_t(saved.size()) <= recipe.evaluate.hold_out) {
    // Fewer than asked for when some of them are gone.
    held_out_items_ = saved;
    const std::unordered_set<std::int64_t> held(saved.begin(), saved.end());
    std::erase_if(train_items_, [&](std::int64_t item) { return held.contains(item); });
  } else if (recipe.evaluate.hold_out > 0) {
    std::tie(train_items_, held_out_items_) = data::hold_out(train_items_, recipe.evaluate.hold_out,
                                                             std::uint64_t(recipe.data.split_seed));
  }
}

std::vector<std::int64_t> TrainingRun::images_in_use(const Recipe& recipe) const {
  std::vector<std::int64_t> items = experiment_.split.train;  // those held out among them
  if (recipe.evaluate.by_query) {
    for (const auto* part : {&experiment_.split.query, &experiment_.split.database}) {
      items.insert(items.end(), part->begin(), part->end());
    }
  }
  return items;
}

void TrainingRun::make_trainer(const Recipe& recipe) {
  trainer_ = std::make_unique<Trainer>(
      TrainerConfig{.model = recipe.model,
                    .optimizer = recipe.optimizer,
                    .pixels = pixel_statistics(experiment_.eval_transform),
                    .dtype = activation_dtype(recipe.train.dtype),
                    .bank_dtype = activation_dtype(recipe.train.bank_dtype),
                    .bank_rows = std::int64_t(train_items_.size()),
                    .classes = experiment_.dataset->classes(),
                    .alpha = recipe.train.alpha,
                    .seed = std::uint64_t(recipe.train.seed),
                    .recompute = recompute_named(recipe.train.recompute),
                    .graph = recipe.train.graph,
                    .ranks = hooks_->ranks},
      device_);
  const std::int64_t steps = steps_per_epoch();
  schedule_ = {.kind = recipe.schedule.kind,
               .base = recipe.schedule.learning_rate,
               .warmup_steps = std::llround(recipe.schedule.warmup_epochs * double(steps)),
               .total_steps = steps * recipe.train.epochs,
               .final_fraction = recipe.schedule.final_fraction};
  schedule_.validate();
  hooks_->listener.report(fmt::format(
      "network: {} parameters, {} bits, {} on {}{}", trainer_->parameters().count(),
      recipe.model.bits, recipe.train.dtype, to_string(device_),
      ranks().size() == 1 ? "" : fmt::format(", {} ranks by {}", ranks().size(), ranks().name())));
}

void TrainingRun::initialise() {
  const std::uint64_t seed = std::uint64_t(recipe_.train.seed);
  if (recipe_.train.initialisation == "generator") {
    set_generated_weights(trainer_->parameters(), seed);
  } else {
    trainer_->parameters().initialise(seed, {.std = recipe_.train.initial_std,
                                             .fan_in = recipe_.train.initialisation == "fan_in"});
  }
  if (recipe_.train.weights.empty()) return;
  const LoadReport report =
      load_weights(SafetensorsFile::open(recipe_.train.weights), recipe_.train.weights,
                   trainer_->parameters(), Loading::kPartial);
  hooks_->listener.report(fmt::format("{}: {}", recipe_.train.weights, report.summary()));
}

std::int64_t TrainingRun::steps_per_epoch() const {
  const std::int64_t accumulate = recipe_.train.accumulate;
  return (loader_->batches() + accumulate - 1) / accumulate;
}

bool TrainingRun::run() {
  const bool complete = run_epochs();
  if (profile_) profile_->finish();
  return complete;
}

bool TrainingRun::run_epochs() {
  while (position_.epoch < recipe_.train.epochs && !out_of_patience()) {
    const bool complete = run_epoch();
    if (complete) {
      end_epoch();
    } else {
      save_checkpoint();
    }
    if (out_of_patience()) break;
    if (wishes_of_all(hooks_->stop() ? kStop : 0) != 0 && position_.epoch < recipe_.train.epochs) {
      ranks().end_together();
      hooks_->listener.report(fmt::format("stopped in epoch {} after {} batches",
                                          position_.epoch + 1, position_.batch));
      return false;
    }
  }
  if (position_.epoch < recipe_.train.epochs) {
    hooks_->listener.report(
        fmt::format("ended early: {} without a better held-out mAP than {:.4f} (evaluate.patience)",
                    counted(position_.waited, "evaluation"), position_.best));
  }
  return true;
}

double TrainingRun::seconds_left() const {
  const std::int64_t per_epoch = std::int64_t(train_items_.size());
  std::int64_t evaluations = 0;
  for (int epoch = position_.epoch; epoch < recipe_.train.epochs; ++epoch) {
    evaluations += evaluates(epoch) ? 1 : 0;
  }
  const std::int64_t images =
      per_epoch * (recipe_.train.epochs - position_.epoch) - position_.images;
  return batch_seconds_ / double(std::max<std::int64_t>(batch_images_, 1)) * double(images) +
         evaluation_seconds_ / double(std::max<std::int64_t>(evaluations_, 1)) *
             double(evaluations);
}

std::int64_t TrainingRun::wishes_of_all(std::int64_t wishes) const {
  std::int64_t all = 0;
  for (const std::int64_t own : ranks().gather(std::span<const std::int64_t>(&wishes, 1))) {
    all |= own;
  }
  return all;
}

bool TrainingRun::run_epoch() {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  Progress progress(hooks_->listener,
                    fmt::format("epoch {}/{}", position_.epoch + 1, recipe_.train.epochs),
                    std::int64_t(train_items_.size()), position_.images);
  loader_->start(std::uint32_t(position_.epoch), position_.batch);
  data::Batch batch;
  std::vector<std::int64_t> slices;
  auto before = Clock::now(), saved = before;
  while (next_batch(batch, slices)) {
    const std::int64_t images_before = position_.images + unsettled_.images;
    if (profile_) {
      profile_->batch([&] {
        take_batch(batch, slices);
        return trainer_->accumulated() == 0;
      });
      if (profile_->finished()) {
        profile_ = nullptr;
        trainer_->use_graph(recipe_.train.graph);
      }
    } else {
      take_batch(batch, slices);
    }
    position_.seconds += since(before);
    batch_seconds_ += since(before);
    batch_images_ += position_.images + unsettled_.images - images_before;
    before = Clock::now();
    if (position_.images > 0) {
      const double mean = position_.loss_sum / double(position_.images);
      progress.update(position_.images, fmt::format("loss {:.4f}", mean), seconds_left());
    }
    // Gradients that wait for a step aren't in a checkpoint.
    if (trainer_->accumulated() > 0 || position_.batch == loader_->batches()) continue;
    const double minutes = recipe_.train.checkpoint_minutes;
    const bool due = minutes > 0 && since(saved) > 60 * minutes;
    const std::int64_t wishes = wishes_of_all((hooks_->stop() ? kStop : 0) | (due ? kSave : 0));
    if ((wishes & kStop) != 0) return false;
    if (wishes != 0) {
      save_checkpoint();
      before = saved = Clock::now();
    }
  }
  settle_loss();
  together(ranks(), [&] { check_loss(); });
  position_.seconds += since(before);
  // Batches of nothing but bad images can leave a step open at the end.
  if (trainer_->accumulated() > 0) trainer_->step(schedule_.at(trainer_->optimizer().steps()));
  report_bad(*loader_, hooks_->listener);
  together(ranks(), [&] {
    HH_REQUIRE(position_.images > 0,
               "not one of the training images can be read: hybridhash dataset check "
               "names what is wrong with them");
  });
  return true;
}

bool TrainingRun::next_batch(data::Batch& batch, std::vector<std::int64_t>& slices) {
  while (true) {
    bool more = false;
    together(ranks(), [&] {
      check_loss();
      more = loader_->next(batch);
    });
    if (!more || ranks().size() == 1) return more;
    const std::int64_t own = batch.images;
    slices = ranks().gather(std::span<const std::int64_t>(&own, 1));
    if (std::accumulate(slices.begin(), slices.end(), std::int64_t{0}) > 0) return true;
  }
}

void TrainingRun::take_batch(const data::Batch& batch, const std::vector<std::int64_t>& slices) {
  const Tensor loss = trainer_->accumulate(batch.pixels, batch.labels, batch.indices, slices);
  BatchLoss latest{.value = backend(trainer_->device()).read_later(loss.data<float>()),
                   .images = slices.empty() ? batch.images
                                            : int(std::accumulate(slices.begin(), slices.end(),
                                                                  std::int64_t{0})),
                   .step = {}};
  position_.batch = batch.number + 1;
  const bool last = position_.batch == loader_->batches();
  if (trainer_->accumulated() == recipe_.train.accumulate || last) {
    trainer_->step(schedule_.at(trainer_->optimizer().steps()));
    latest.step = trainer_->optimizer().steps();
  }
  // The loss of the batch before this one: a GPU has this one to work on meanwhile.
  settle_loss();
  unsettled_ = std::move(latest);
}

void TrainingRun::settle_loss() {
  if (!unsettled_.value) return;
  const double value = double(unsettled_.value->wait());
  lost_ = lost_ || !std::isfinite(value);
  position_.loss_sum += value * unsettled_.images;
  position_.images += unsettled_.images;
  if (events_ && !lost_ && unsettled_.step && *unsettled_.step % kStepsPerPoint == 1) {
    events_->scalar("batch_loss", value, *unsettled_.step);
  }
  unsettled_ = {};
}

void TrainingRun::check_loss() const {
  HH_REQUIRE(!lost_, "the loss is no longer finite in epoch "
                         << position_.epoch + 1
                         << ": lower schedule.learning_rate, lengthen "
                            "schedule.warmup_epochs or set optimizer.clip_norm");
}

void TrainingRun::end_epoch() {
  const bool last = position_.epoch + 1 == recipe_.train.epochs;
  const bool evaluate = evaluates(position_.epoch);
  const double loss = position_.loss_sum / double(std::max<std::int64_t>(position_.images, 1));
  double held_out = NAN, query = NAN;
  const auto start = std::chrono::steady_clock::now();
  if (evaluate && !held_out_items_.empty())
    held_out = retrieval_map(held_out_items_, train_items_, 0);
  if (evaluate && recipe_.evaluate.by_query) {
    const data::Split& split = experiment_.split;
    const int cut =
        recipe_.evaluate.top_k > 0 ? recipe_.evaluate.top_k : experiment_.protocol.top_k;
    query = retrieval_map(split.query, split.database, std::max(cut, 0));
  }
  if (evaluate) {
    ++evaluations_;
    evaluation_seconds_ +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  ++position_.epoch;
  together(ranks(), [&] {
    if (writes()) log_epoch(loss, held_out, query);
  });

  // Without a held-out slice nothing but the training loss could choose, so the last epoch stands.
  if (held_out_items_.empty() ? last : held_out > position_.best) {
    position_.best = held_out_items_.empty() ? -1 : held_out;
    position_.waited = 0;
    save_model(kBestFile);
  } else if (!std::isnan(held_out)) {
    ++position_.waited;
  }
  if (query > position_.best_by_query) {
    position_.best_by_query = query;
    save_model(kBestByQueryFile);
  }
  position_.batch = position_.images = 0;
  position_.loss_sum = position_.seconds = 0;
  save_checkpoint();
}

void TrainingRun::log_epoch(double loss, double held_out, double query) {
  const std::int64_t steps = trainer_->optimizer().steps();
  const double rate = double(position_.images) / std::max(position_.seconds, 1e-9);
  const float learning_rate = schedule_.at(std::max<std::int64_t>(steps - 1, 0));
  const auto cell = [](double v) {
    return std::isnan(v) ? std::string() : fmt::format("{:.6f}", v);
  };
  append_line(folder_ / kMetricsFile,
              fmt::format("{},{},{:.6f},{:.6g},{:.1f},{:.2f},{},{}\n", position_.epoch, steps, loss,
                          learning_rate, rate, position_.seconds, cell(held_out), cell(query)));
  events_->scalar("loss", loss, steps);
  events_->scalar("learning_rate", double(learning_rate), steps);
  events_->scalar("images_per_second", rate, steps);
  if (!std::isnan(held_out)) events_->scalar("held_out_map", held_out, steps);
  if (!std::isnan(query)) events_->scalar("query_map", query, steps);
  events_->flush();
  hooks_->epoch_ended(MetricsLog::read(folder_ / kMetricsFile));
  hooks_->listener.report(
      fmt::format("epoch {:>3}  loss {:.4f}  {:.0f} images/s{}{}", position_.epoch, loss, rate,
                  std::isnan(held_out) ? "" : fmt::format("  held-out mAP {:.4f}", held_out),
                  std::isnan(query) ? "" : fmt::format("  query mAP {:.4f}", query)));
}

double TrainingRun::retrieval_map(const std::vector<std::int64_t>& queries,
                                  const std::vector<std::int64_t>& database, int top_k) const {
  const Encoder encoder(trainer_->network(), experiment_.eval_transform, trainer_->config().dtype,
                        device_,
                        {.batch = recipe_.evaluate.batch,
                         .workers = recipe_.data.workers,
                         .skip_bad = recipe_.data.skip_bad,
                         .may_be_none = ranks().size() > 1,
                         .listener = hooks_->listener});
  const auto encode = [&](const std::vector<std::int64_t>& items, const char* what) {
    return encode_together(ranks(), encoder, *experiment_.dataset, items, recipe_.evaluate.batch,
                           what);
  };
  const retrieval::CodeSet query_codes = encode(queries, "queries");
  const retrieval::CodeSet database_codes = encode(database, "database");
  double map = 0;
  together(ranks(), [&] {
    if (!writes()) return;
    map = retrieval::evaluate(retrieval::labelled(query_codes), retrieval::labelled(database_codes),
                              {.top_k = top_k, .ks = {}, .bootstrap_samples = 0})
              .map[retrieval::TieRule::kStable];
  });
  // The bits of rank 0's, as a number of the host.
  const auto bits = std::bit_cast<std::int64_t>(map);
  return std::bit_cast<double>(ranks().gather(std::span(&bits, 1)).front());
}

ModelInfo TrainingRun::model_info() const {
  return {.config = recipe_.model,
          .transform = experiment_.eval_transform,
          .exif_orientation = recipe_.turns_photographs(),
          .class_names = experiment_.dataset->class_names(),
          .protocol = recipe_.data.protocol,
          .recipe = recipe_.to_toml()};
}

void TrainingRun::save_model(const std::string& file) const {
  together(*hooks_->ranks, [&] {
    if (writes()) pipeline::save_model(folder_ / file, trainer_->parameters(), model_info());
  });
}

std::string TrainingRun::summary() const {
  std::string text = fmt::format("trained {}; {} holds\n", counted(position_.epoch, "epoch"),
                                 one_line(folder_.string()));
  const auto line = [&](const char* file, const std::string& what) {
    if (std::filesystem::exists(folder_ / file)) text += fmt::format("  {:<26} {}\n", file, what);
  };
  line(kBestFile,
       held_out_items_.empty()
           ? std::string("the model after the last epoch")
           : fmt::format("the best model by held-out training images: mAP {:.4f}", position_.best));
  line(kBestByQueryFile,
       fmt::format("the best model by the query set, as papers choose it: mAP {:.4f}",
                   position_.best_by_query));
  line(kCheckpointFile, "checkpoint");
  line(kMetricsFile, "one line an epoch");
  line(kTraceFile, "the profiled steps, for https://ui.perfetto.dev");
  line(kProfileFile, "their time by layer and kernel");
  return text;
}

void TrainingRun::save_checkpoint() {
  settle_loss();
  together(ranks(), [&] {
    check_loss();
    // A run that goes on from here logs what comes behind, so what comes before must be on the disk.
    if (events_) events_->flush();
  });
  check_same_weights(*trainer_);
  const nlohmann::json position{{"epoch", position_.epoch},
                                {"batch", position_.batch},
                                {"loss_sum", position_.loss_sum},
                                {"images", position_.images},
                                {"seconds", position_.seconds},
                                {"best", position_.best},
                                {"best_by_query", position_.best_by_query},
                                {"waited", position_.waited}};
  // A checkpoint serves as a model as well.
  Metadata metadata = model_metadata(model_info());
  metadata["position"] = json_text(position);
  hh::save_checkpoint(folder_ / kCheckpointFile, *trainer_, metadata);
}

void TrainingRun::load_checkpoint() {
  const auto metadata =
      hh::load_checkpoint(folder_ / kCheckpointFile, *trainer_, experiment_.train_rows);
  try {
    const auto json = parse_json(metadata.at("position"));
    json.at("epoch").get_to(position_.epoch);
    json.at("batch").get_to(position_.batch);
    json.at("loss_sum").get_to(position_.loss_sum);
    json.at("images").get_to(position_.images);
    json.at("seconds").get_to(position_.seconds);
    json.at("best").get_to(position_.best);
    json.at("best_by_query").get_to(position_.best_by_query);
    position_.waited = json.value("waited", 0);  // older ones have none
  } catch (const std::exception& error) {
    throw std::invalid_argument((folder_ / kCheckpointFile).string() +
                                ": no usable training position: " + json_error_text(error) +
                                ": start a new run");
  }
  const std::vector<std::int64_t>& rows = experiment_.train_rows;
  if (!rows.empty() && rows.back() + 1 != std::int64_t(rows.size())) {
    // The epoch's order was of other images.
    position_.batch = position_.images = 0;
    position_.loss_sum = position_.seconds = 0;
  }
  // Lines of epochs after the checkpoint (a killed run) are dropped: they will be written again.
  if (writes()) keep_lines(folder_ / kMetricsFile, std::size_t(position_.epoch) + 1);
  HH_REQUIRE(position_.epoch >= 0 && position_.batch >= 0 && position_.batch < loader_->batches(),
             (folder_ / kCheckpointFile).string()
                 << ": it stands at batch " << position_.batch << " of epoch "
                 << position_.epoch + 1 << ", and an epoch has "
                 << counted(loader_->batches(), "batch", "batches")
                 << ": resume with the batch it was made with, or start a new run");
  hooks_->listener.report(position_.epoch < recipe_.train.epochs
                              ? fmt::format("continuing in epoch {} after {} batches",
                                            position_.epoch + 1, position_.batch)
                              : fmt::format("complete already: {} of {} epochs (train.epochs)",
                                            position_.epoch, recipe_.train.epochs));
}

}  // namespace hh::pipeline
