#include "apps/training_run.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/evaluation.h"
#include "apps/model_file.h"
#include "apps/progress.h"
#include "engine/file.h"
#include "model/generator.h"

namespace hh::apps {
namespace {

constexpr const char* kRecipeFile = "recipe.toml";
constexpr const char* kSplitFile = "split.json";
constexpr const char* kMetricsFile = "metrics.csv";
constexpr const char* kCheckpointFile = "last.safetensors";
constexpr const char* kMetricsHeader =
    "epoch,steps,loss,learning_rate,images_per_s,seconds,held_out_map,query_map\n";

DType dtype_named(const std::string& text) {
  return text == "bf16" ? DType::bf16 : text == "f16" ? DType::f16 : DType::f32;
}

/// The split that a safetensors file lists (`query`, `train`), the database being all other images.
data::Split listed_split(const std::filesystem::path& path, std::int64_t items) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  data::Split split{file.to_int64s("query"), file.to_int64s("train"), {}};
  std::vector<bool> taken(std::size_t(items), false);
  for (const auto* part : {&split.query, &split.train}) {
    for (const std::int64_t item : *part) {
      HH_REQUIRE(item >= 0 && item < items, path.string() << ": image " << item << " of " << items);
      taken[std::size_t(item)] = true;
    }
  }
  for (std::int64_t i = 0; i < items; ++i) {
    if (!taken[std::size_t(i)]) split.database.push_back(i);
  }
  data::check_split(split, items);
  return split;
}

/// The protocol's training transform with the recipe's changes.
data::TransformSpec train_transform(const data::Experiment& experiment, const Recipe& recipe) {
  data::TransformSpec transform = experiment.train_transform;
  if (recipe.data.flip >= 0) transform.flip_probability = float(recipe.data.flip);
  if (recipe.data.max_shift >= 0) {
    transform.crop = recipe.data.max_shift > 0 ? data::Crop::kNearCentre : data::Crop::kCentre;
    transform.max_shift = recipe.data.max_shift;
  }
  transform.validate();
  return transform;
}

void report_bad(const data::Loader& loader) {
  for (const data::BadImage& bad : loader.bad()) {
    spdlog::warn("skipped {}: {}", bad.location, bad.error);
  }
  if (!loader.bad().empty()) spdlog::warn("{} bad images skipped", loader.bad().size());
}

}  // namespace

TrainingRun::TrainingRun(const Recipe& recipe, const std::filesystem::path& folder, Device device)
    : TrainingRun(recipe, folder, device, /*resuming=*/false) {}

TrainingRun TrainingRun::resume(const std::filesystem::path& folder, Device device,
                                const std::vector<std::string>& settings) {
  HH_REQUIRE(std::filesystem::exists(folder / kCheckpointFile),
             folder.string() << " holds no checkpoint (" << kCheckpointFile
                             << "): start the run without --resume");
  return TrainingRun(Recipe::read(folder / kRecipeFile, settings), folder, device,
                     /*resuming=*/true);
}

TrainingRun::TrainingRun(const Recipe& recipe, const std::filesystem::path& folder, Device device,
                         bool resuming)
    : recipe_(recipe), folder_(folder), device_(device) {
  HH_REQUIRE(resuming || !std::filesystem::exists(folder / kRecipeFile),
             folder.string() << " already holds a run: continue it with --resume, or choose another "
                                "folder with --out");
  std::filesystem::create_directories(folder);
  experiment_ = data::open_protocol(recipe.data.protocol, recipe.protocol_options());
  const std::int64_t items = experiment_.dataset->size();
  if (resuming) {
    experiment_.split = data::read_split(folder / kSplitFile, recipe.data.protocol, items);
  } else if (!recipe.data.split_file.empty()) {
    experiment_.split = listed_split(recipe.data.split_file, items);
  }
  for (const std::string& warning : experiment_.warnings) spdlog::warn("{}", warning);
  train_items_ = experiment_.split.train;
  HH_REQUIRE(recipe.evaluate.hold_out < std::int64_t(train_items_.size()),
             "evaluate.hold_out = " << recipe.evaluate.hold_out << ": there are only "
                                    << train_items_.size() << " training images");
  if (recipe.evaluate.hold_out > 0) {
    std::tie(train_items_, held_out_items_) = data::hold_out(
        train_items_, recipe.evaluate.hold_out, std::uint64_t(recipe.data.split_seed));
  }
  fmt::print("{}", data::describe(experiment_));

  loader_ = std::make_unique<data::Loader>(
      *experiment_.dataset, train_items_, train_transform(experiment_, recipe),
      data::LoaderOptions{.batch_size = recipe.train.batch,
                          .shuffle = true,
                          .seed = std::uint64_t(recipe.train.seed),
                          .workers = recipe.data.workers,
                          .skip_bad = recipe.data.skip_bad});
  trainer_ = std::make_unique<Trainer>(
      TrainerConfig{.model = recipe.model,
                    .optimizer = recipe.optimizer,
                    .pixels = pixel_statistics(experiment_.eval_transform),
                    .dtype = dtype_named(recipe.train.dtype),
                    .bank_dtype = dtype_named(recipe.train.bank_dtype),
                    .bank_rows = std::int64_t(train_items_.size()),
                    .classes = experiment_.dataset->classes(),
                    .alpha = recipe.train.alpha,
                    .seed = std::uint64_t(recipe.train.seed),
                    .recompute = recipe.train.recompute},
      device);
  const std::int64_t steps = steps_per_epoch();
  schedule_ = {.kind = recipe.schedule.kind,
               .base = recipe.schedule.learning_rate,
               .warmup_steps = std::llround(recipe.schedule.warmup_epochs * double(steps)),
               .total_steps = steps * recipe.train.epochs,
               .final_fraction = recipe.schedule.final_fraction};
  schedule_.validate();
  fmt::print("network: {} parameters, {} bits, {} on {}\n", trainer_->parameters().count(),
             recipe.model.bits, recipe.train.dtype, to_string(device));

  if (resuming) {
    load_checkpoint();
  } else {
    if (recipe.train.initialisation == "generator") {
      set_generated_weights(trainer_->parameters(), std::uint64_t(recipe.train.seed));
    } else {
      trainer_->parameters().initialise(std::uint64_t(recipe.train.seed),
                                        {.std = recipe.train.initial_std,
                                         .fan_in = recipe.train.initialisation == "fan_in"});
    }
    write_file_atomically(folder / kRecipeFile, recipe.to_toml());
    data::write_split(folder / kSplitFile, experiment_.split, recipe.data.protocol,
                      std::uint64_t(recipe.data.split_seed), items);
    write_file_atomically(folder / kMetricsFile, kMetricsHeader);
  }
  events_ = std::make_unique<EventFile>(folder);
}

std::int64_t TrainingRun::steps_per_epoch() const {
  const std::int64_t accumulate = recipe_.train.accumulate;
  return (loader_->batches() + accumulate - 1) / accumulate;
}

bool TrainingRun::run() {
  while (position_.epoch < recipe_.train.epochs) {
    if (!run_epoch()) {
      save_checkpoint();
      fmt::print("stopped in epoch {} after {} batches; continue with: hybridhash train --resume {}\n",
                 position_.epoch + 1, position_.batch, folder_.string());
      return false;
    }
    end_epoch();
  }
  return true;
}

bool TrainingRun::run_epoch() {
  using Clock = std::chrono::steady_clock;
  Progress progress(fmt::format("epoch {}/{}", position_.epoch + 1, recipe_.train.epochs),
                    std::int64_t(train_items_.size()));
  loader_->start(std::uint32_t(position_.epoch), position_.batch);
  const std::int64_t batches = loader_->batches(), accumulate = recipe_.train.accumulate;
  data::Batch batch;
  auto before = Clock::now();
  while (loader_->next(batch)) {
    if (batch.images > 0) {
      const Tensor loss = trainer_->accumulate(batch.pixels, batch.labels, batch.indices);
      position_.loss_sum += double(loss.to_host<float>()[0]) * batch.images;
      position_.images += batch.images;
    }
    ++position_.batch;
    const bool step_done = position_.batch % accumulate == 0 || position_.batch == batches;
    if (step_done && trainer_->accumulated() > 0) {
      trainer_->step(schedule_.at(trainer_->optimizer().steps()));
    }
    const auto now = Clock::now();
    position_.seconds += std::chrono::duration<double>(now - before).count();
    before = now;
    const double mean = position_.loss_sum / double(std::max<std::int64_t>(position_.images, 1));
    HH_REQUIRE(std::isfinite(mean), "the loss is no longer finite in epoch "
                                        << position_.epoch + 1
                                        << ": lower schedule.learning_rate, lengthen "
                                           "schedule.warmup_epochs or set optimizer.clip_norm");
    progress.update(position_.images, fmt::format("loss {:.4f}", mean));
    if (step_done && stop_requested() && position_.batch < batches) return false;
  }
  report_bad(*loader_);
  return true;
}

void TrainingRun::end_epoch() {
  const bool last = position_.epoch + 1 == recipe_.train.epochs;
  const bool evaluate = last || (position_.epoch + 1) % recipe_.evaluate.every == 0;
  const std::int64_t steps = trainer_->optimizer().steps();
  const double loss = position_.loss_sum / double(std::max<std::int64_t>(position_.images, 1));
  const double rate = double(position_.images) / std::max(position_.seconds, 1e-9);
  const float learning_rate = schedule_.at(std::max<std::int64_t>(steps - 1, 0));
  double held_out = NAN, query = NAN;
  if (evaluate && !held_out_items_.empty()) held_out = held_out_map();
  if (evaluate && recipe_.evaluate.by_query) query = query_map();

  ++position_.epoch;
  const auto cell = [](double v) { return std::isnan(v) ? std::string() : fmt::format("{:.6f}", v); };
  append_line(folder_ / kMetricsFile,
              fmt::format("{},{},{:.6f},{:.6g},{:.1f},{:.2f},{},{}\n", position_.epoch, steps, loss,
                          learning_rate, rate, position_.seconds, cell(held_out), cell(query)));
  events_->scalar("loss", loss, steps);
  events_->scalar("learning_rate", double(learning_rate), steps);
  events_->scalar("images_per_second", rate, steps);
  if (!std::isnan(held_out)) events_->scalar("held_out_map", held_out, steps);
  if (!std::isnan(query)) events_->scalar("query_map", query, steps);
  events_->flush();
  fmt::print("epoch {:>3}  loss {:.4f}  {:.0f} images/s{}{}\n", position_.epoch, loss, rate,
             std::isnan(held_out) ? "" : fmt::format("  held-out mAP {:.4f}", held_out),
             std::isnan(query) ? "" : fmt::format("  query mAP {:.4f}", query));
  std::fflush(stdout);

  // Without a held-out slice nothing but the training loss could choose, so the last epoch stands.
  if (held_out_items_.empty() ? last : held_out > position_.best) {
    position_.best = held_out_items_.empty() ? -1 : held_out;
    save_model("best.safetensors");
  }
  if (query > position_.best_by_query) {
    position_.best_by_query = query;
    save_model("best_by_query.safetensors");
  }
  position_.batch = position_.images = 0;
  position_.loss_sum = position_.seconds = 0;
  save_checkpoint();
}

double TrainingRun::held_out_map() {
  const Encoder encoder(trainer_->network(), experiment_.eval_transform, trainer_->config().dtype,
                        device_, recipe_.evaluate.batch);
  const auto queries = encoder.encode(*experiment_.dataset, held_out_items_, recipe_.data.skip_bad);
  const auto database = encoder.encode(*experiment_.dataset, train_items_, recipe_.data.skip_bad);
  return mean_average_precision(queries, database, /*top_k=*/0);
}

double TrainingRun::query_map() {
  const Encoder encoder(trainer_->network(), experiment_.eval_transform, trainer_->config().dtype,
                        device_, recipe_.evaluate.batch);
  const auto queries =
      encoder.encode(*experiment_.dataset, experiment_.split.query, recipe_.data.skip_bad);
  const auto database =
      encoder.encode(*experiment_.dataset, experiment_.split.database, recipe_.data.skip_bad);
  const int top_k = recipe_.evaluate.top_k > 0 ? recipe_.evaluate.top_k : experiment_.protocol.top_k;
  return mean_average_precision(queries, database, std::max(top_k, 0));
}

void TrainingRun::save_model(const std::string& file) const {
  save_model_file(folder_ / file, trainer_->parameters(),
                  {.config = recipe_.model,
                   .transform = experiment_.eval_transform,
                   .class_names = experiment_.dataset->class_names(),
                   .protocol = recipe_.data.protocol});
}

void TrainingRun::save_checkpoint() {
  const nlohmann::json position{{"epoch", position_.epoch},
                                {"batch", position_.batch},
                                {"loss_sum", position_.loss_sum},
                                {"images", position_.images},
                                {"seconds", position_.seconds},
                                {"best", position_.best},
                                {"best_by_query", position_.best_by_query}};
  hh::save_checkpoint(folder_ / kCheckpointFile, *trainer_, {{"position", position.dump()}});
}

void TrainingRun::load_checkpoint() {
  const auto metadata = hh::load_checkpoint(folder_ / kCheckpointFile, *trainer_);
  try {
    const auto json = nlohmann::json::parse(metadata.at("position"));
    json.at("epoch").get_to(position_.epoch);
    json.at("batch").get_to(position_.batch);
    json.at("loss_sum").get_to(position_.loss_sum);
    json.at("images").get_to(position_.images);
    json.at("seconds").get_to(position_.seconds);
    json.at("best").get_to(position_.best);
    json.at("best_by_query").get_to(position_.best_by_query);
  } catch (const std::exception& error) {
    throw std::invalid_argument((folder_ / kCheckpointFile).string() +
                                ": no usable training position: " + error.what());
  }
  // Lines of epochs after the checkpoint (a killed run) are dropped: they will be written again.
  keep_lines(folder_ / kMetricsFile, std::size_t(position_.epoch) + 1);
  fmt::print("continuing in epoch {} after {} batches\n", position_.epoch + 1, position_.batch);
}

}  // namespace hh::apps
