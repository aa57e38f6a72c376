// SPDX-License-Identifier: Apache-2.0
#include "pipeline/experiment.h"

#include <fmt/format.h>

#include <memory>
#include <optional>

#include "data/cache/cached_dataset.h"
#include "data/experiments/split_file.h"
#include "engine/files/safetensors.h"
#include "engine/text/counted.h"

namespace hh::pipeline {
namespace {

/// The split that a safetensors file lists (`query`, `train`), the database being all other images.
data::Split listed_split(const std::filesystem::path& path, std::int64_t items) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  data::Split split{file.to_int64s("query"), file.to_int64s("train"), {}};
  std::vector<bool> taken(std::size_t(items), false);
  for (const auto* part : {&split.query, &split.train}) {
    for (const std::int64_t item : *part) {
      HH_REQUIRE(item >= 0 && item < items, path.string() << ": image " << item << " of " << items
                                                          << ": use 0 to " << items - 1);
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
data::TransformSpec train_transform(data::TransformSpec transform, const Recipe::Data& changes) {
  if (changes.flip >= 0) transform.flip_probability = float(changes.flip);
  if (changes.max_shift >= 0) {
    transform.crop = changes.max_shift > 0 ? data::Crop::kNearCentre : data::Crop::kCentre;
    transform.max_shift = changes.max_shift;
  }
  transform.validate();
  return transform;
}

}  // namespace

data::Experiment open_experiment(const Recipe& recipe, const std::filesystem::path& saved_split,
                                 bool allow_changed_data) {
  data::Experiment experiment =
      data::open_protocol(recipe.data.protocol, recipe.protocol_options());
  const std::int64_t items = experiment.dataset->size();
  if (!saved_split.empty()) {
    data::FittedSplit fitted =
        data::fit_split(data::read_split(saved_split), *experiment.dataset, recipe.data.protocol,
                        allow_changed_data, saved_split.string());
    experiment.split = std::move(fitted.split);
    experiment.held_out = std::move(fitted.held_out);
    experiment.train_rows = std::move(fitted.train_rows);
    experiment.warnings.insert(experiment.warnings.end(), fitted.notes.begin(), fitted.notes.end());
  } else if (!recipe.data.split_file.empty()) {
    experiment.split = listed_split(recipe.data.split_file, items);
  }
  experiment.train_transform = train_transform(experiment.train_transform, recipe.data);
  return experiment;
}

void use_cache(data::Experiment& experiment, const Recipe& recipe,
               const std::vector<std::int64_t>& items, const Listener& listener) {
  if (recipe.data.cache.empty()) return;
  auto files = std::dynamic_pointer_cast<const data::FileDataset>(experiment.dataset);
  HH_PRECONDITION(files != nullptr, "data.cache of a data set in memory");
  // One picture serves both.
  HH_PRECONDITION(experiment.train_transform.resize == experiment.eval_transform.resize &&
                      experiment.train_transform.resize_to == experiment.eval_transform.resize_to,
                  "data.cache: training and evaluation resize otherwise");
  std::optional<Progress> progress;
  const data::CachedSet cached =
      data::with_cache(std::move(files), items,
                       {.folder = recipe.data.cache,
                        .transform = experiment.train_transform,
                        .report = listener.report,
                        .warn = listener.warn,
                        .progress = [&](std::int64_t done, std::int64_t total) {
                          if (!progress) progress.emplace(listener, "decoding", total);
                          progress->update(done);
                        }});
  progress.reset();
  const data::CacheFacts& facts = cached.facts;
  listener.report(fmt::format(
      "cache      {}: {}, {:.1f} MB; {} decoded now, {} of them changed since", facts.file.string(),
      data::held_text(facts.held, facts.wanted, facts.first_without), double(facts.bytes) / 1e6,
      facts.decoded, facts.changed));
  experiment.dataset = cached.dataset;
}

}  // namespace hh::pipeline
