// SPDX-License-Identifier: Apache-2.0
#include "pipeline/data_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <numeric>

#include "data/images/resize.h"
#include "data/sets/folder.h"
#include "data/sets/list_file.h"
#include "data/streams/line_stream.h"
#include "engine/text/utf8.h"
#include "pipeline/experiment.h"

namespace hh::pipeline {
namespace {

/// Another data set's images, shrunk where the model needs it.
class FittingDataset final : public data::Dataset {
 public:
  FittingDataset(std::shared_ptr<const data::Dataset> from, const data::TransformSpec& transform)
      : Dataset(from->labels(), from->class_names(), from->notes()),
        from_(std::move(from)),
        transform_(transform) {}
  std::string name(std::int64_t index) const override { return from_->name(index); }
  std::string location(std::int64_t index) const override { return from_->location(index); }
  bool available(std::int64_t index) const override { return from_->available(index); }
  void load(std::int64_t index, data::Image& image) const override {
    from_->load(index, image);
    shrink_to_fit(image, transform_);
  }

 private:
  std::shared_ptr<const data::Dataset> from_;
  data::TransformSpec transform_;
};

Source part_of_protocol(const ModelInfo& model, const std::filesystem::path& model_path,
                        const SourceOptions& options) {
  std::vector<std::string> settings = options.settings;
  if (options.max_pixels > 0) {
    settings.push_back("data.max_pixels=" + fmt::format("{}", options.max_pixels));
  }
  HH_REQUIRE(
      options.decode == "auto",
      "--decode " << options.decode
                  << " with --part: its images are decoded as the recipe says; change that by "
                     "--set data.scaled_decode=true or false");
  const Recipe recipe = Recipe::parse(model.recipe, model_path.string(), settings);
  HH_REQUIRE(recipe.turns_photographs() == model.exif_orientation,
             "data.exif_orientation is " << std::boolalpha << model.exif_orientation
                                         << " for this model: train another one to change it");
  HH_REQUIRE(recipe.data.path.empty() || std::filesystem::exists(recipe.data.path),
             model_path.string() << ": its data were in " << recipe.data.path
                                 << ", which isn't there: say where they are by --set "
                                    "data.path=FOLDER");
  std::filesystem::path split = options.split;
  if (split.empty()) {
    const auto beside = model_path.parent_path() / kSplitFile;
    if (std::filesystem::exists(beside)) split = beside;
  }
  const data::Experiment experiment = open_experiment(recipe, split, options.allow_changed_data);
  Source source{.dataset = experiment.dataset,
                .name = recipe.data.protocol + " " + options.part,
                .top_k = recipe.evaluate.top_k > 0 ? recipe.evaluate.top_k
                                                   : std::max(experiment.protocol.top_k, 0),
                .warnings = experiment.warnings,
                .scaled_shorter_side =
                    data::is_of_files(recipe.data.protocol)
                        ? data::decode_options(recipe.protocol_options()).scaled_shorter_side
                        : 0};
  if (options.part == "query") {
    source.items = experiment.split.query;
  } else if (options.part == "train") {
    source.items = experiment.split.train;
  } else if (options.part == "database") {
    source.items = experiment.split.database;
  } else {
    HH_REQUIRE(options.part == "all",
               "part '" << options.part << "': use query, train, database or all");
    source.items.resize(std::size_t(experiment.dataset->size()));
    std::iota(source.items.begin(), source.items.end(), std::int64_t{0});
  }
  return source;
}

/// DecodeOptions::scaled_shorter_side.
int scaled_side(const std::string& decode, bool trained_scaled,
                const data::TransformSpec& transform) {
  HH_REQUIRE(decode == "auto" || decode == "whole" || decode == "scaled",
             "decode '" << decode << "': use auto, whole or scaled");
  if (decode == "whole" || transform.resize == data::Resize::kNone) return 0;
  if (trained_scaled) return transform.resize_to;
  return decode == "scaled" ? kScaledMargin * transform.resize_to : 0;
}

std::unique_ptr<data::Dataset> single_files(const std::vector<std::string>& files,
                                            const data::DecodeOptions& decode) {
  std::vector<data::FileDataset::Item> items;
  for (const std::string& file : files) items.push_back({.path = file});
  const auto count = std::int64_t(items.size());
  return std::make_unique<data::FileDataset>(std::filesystem::path(), std::vector<std::string>(),
                                             std::move(items), data::Labels(count, 1),
                                             std::vector<std::string>(), decode);
}

std::unique_ptr<data::Dataset> listed_files(const SourceOptions& options,
                                            const data::DecodeOptions& decode) {
  data::LineStream stream(options.list,
                          {.null = options.list_null,
                           .refuse_labels = options.list_labels == "auto" && !options.list_null,
                           .image_root = options.image_root,
                           .decode = decode});
  const std::atomic<bool> never_stopped = false;
  std::vector<data::FileDataset::Item> items;
  for (data::StreamedImage image; stream.next(image, never_stopped);) {
    items.push_back({.path = image.name, .line = std::int32_t(image.line)});
    HH_REQUIRE(std::int64_t(items.size()) <= data::kMaxListedImages,
               options.list << ": there are more than " << data::kMaxListedImages
                            << " images: encode them first (hybridhash encode), which takes any "
                               "number");
  }
  HH_REQUIRE(!items.empty(), options.list << ": there is no path in the list");
  const auto count = std::int64_t(items.size());
  return std::make_unique<data::FileDataset>(options.image_root, std::vector{options.list},
                                             std::move(items), data::Labels(count, 1),
                                             std::vector<std::string>(), decode);
}

}  // namespace

void shrink_to_fit(data::Image& image, const data::TransformSpec& transform) {
  const int longer = std::max(image.height, image.width);
  if (transform.resize != data::Resize::kNone || longer <= transform.size) return;
  const auto scaled = [&](int side) {
    return std::max(1, int(std::int64_t{side} * transform.size / longer));
  };
  image = data::resize_bilinear(image, scaled(image.height), scaled(image.width));
}

bool is_list_of_paths(const SourceOptions& options) {
  HH_REQUIRE(
      !options.list_null || options.list_labels == "auto" || options.list_labels == "none",
      "--null is for lists of paths alone: leave --list-labels " << options.list_labels << " out");
  if (options.list_null || options.list_labels == "none") return true;
  return options.list_labels == "auto" && !data::has_labels(data::first_line(options.list));
}

data::DecodeOptions decode_options(const ModelInfo& model, const std::filesystem::path& model_path,
                                   const SourceOptions& options) {
  const Recipe::Data trained = Recipe::parse(model.recipe, model_path.string(), {}).data;
  const double millions = options.max_pixels > 0 ? options.max_pixels : trained.max_pixels;
  return {
      .channels = model.config.in_channels,
      .exif_orientation = model.exif_orientation,
      .scaled_shorter_side = scaled_side(options.decode, trained.scaled_decode, model.transform),
      .max_pixels = std::int64_t(millions * 1e6)};
}

Source open_source(const ModelInfo& model, const std::filesystem::path& model_path,
                   const SourceOptions& options) {
  const int kinds = !options.part.empty() + !options.folder.empty() +
                    !options.class_folder.empty() + !options.list.empty() + !options.tar.empty() +
                    !options.files.empty();
  HH_REQUIRE(kinds == 1,
             "what to encode? Give one of --part, --folder, --class-folder, --list, --tar and "
             "image files");
  HH_PRECONDITION(options.tar.empty(), "an archive is a stream, not a data set");
  if (!options.part.empty()) return part_of_protocol(model, model_path, options);
  const data::DecodeOptions decode = decode_options(model, model_path, options);
  std::unique_ptr<data::Dataset> dataset;
  Source source;
  if (!options.folder.empty()) {
    dataset = data::open_images(options.folder, decode);
    source.name = options.folder;
  } else if (!options.class_folder.empty()) {
    dataset = data::open_folder(options.class_folder, decode);
    source.name = options.class_folder;
  } else if (!options.list.empty() && is_list_of_paths(options)) {
    dataset = listed_files(options, decode);
    source.name = options.list;
  } else if (!options.list.empty()) {
    std::vector<data::ImageList> lists;
    lists.push_back(data::read_list(options.list == data::kStdin ? "/dev/stdin" : options.list,
                                    data::list_labels_named(options.list_labels)));
    dataset = data::open_lists(std::move(lists), options.image_root, decode);
    source.name = options.list;
  } else {
    dataset = single_files(options.files, decode);
    source.name = options.files.size() == 1 ? options.files[0]
                                            : std::to_string(options.files.size()) + " files";
  }
  for (const std::string& note : dataset->notes()) {
    source.warnings.push_back(source.name + ": " + note);
  }
  source.items.resize(std::size_t(dataset->size()));
  std::iota(source.items.begin(), source.items.end(), std::int64_t{0});
  source.dataset = fitting(std::move(dataset), model.transform);
  source.scaled_shorter_side = decode.scaled_shorter_side;
  return source;
}

std::shared_ptr<const data::Dataset> fitting(std::shared_ptr<const data::Dataset> dataset,
                                             const data::TransformSpec& transform) {
  return std::make_shared<FittingDataset>(std::move(dataset), transform);
}

retrieval::CodeSet encode_source(const Model& model, const Source& source,
                                 const EncoderOptions& options) {
  for (const std::string& warning : source.warnings) options.listener.warn(warning);
  const Encoder encoder(model.network, model.info.transform, model.dtype, model.device, options);
  retrieval::CodeSet set = encoder.encode(*source.dataset, source.items, source.name);
  set.model_hash = model.hash;
  set.source = as_utf8(source.name);
  set.exif_orientation = model.info.exif_orientation;
  set.scaled_shorter_side = source.scaled_shorter_side;
  return set;
}

}  // namespace hh::pipeline
