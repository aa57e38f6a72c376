// SPDX-License-Identifier: Apache-2.0
// What can be encoded: a part of a model's own data, folders, lists, single files.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/sets/dataset.h"
#include "pipeline/encoder.h"
#include "pipeline/model_file.h"

namespace hh::pipeline {

/// Exactly one of part, folder, class_folder, list, tar and files is given.
struct SourceOptions {
  std::string part;   // query, train, database or all, of the model's protocol
  std::string split;  // split.json for it; empty: beside the model, else the recipe's
  std::vector<std::string> settings;  // changes to the model's recipe, as data.path=/images
  std::string folder;                 // images at any depth, without labels
  std::string class_folder;           // a folder per class
  std::string list, image_root;       // data/sets/list_file.h
  /// columns, class, none (the lines are paths), or auto: none where the first line has no numbers
  /// behind its path.
  std::string list_labels = "auto";
  bool list_null = false;  // the list's paths end in zero bytes
  std::string tar;         // an archive of images; streams alone (stream_source.h)
  std::vector<std::string> files;
  /// Of JPEGs: auto (as the model was trained), whole, or scaled: at 1/2, 1/4 or 1/8 where that leaves
  /// enough pixels (kScaledMargin).
  std::string decode = "auto";
  double max_pixels = 0;            // of an image, millions; 0: that of the model's recipe
  bool allow_changed_data = false;  // of --part: what is gone since the split was made is left out
};

struct Source {
  std::shared_ptr<const data::Dataset> dataset;
  std::vector<std::int64_t> items;
  std::string name;                   // in words
  std::int64_t top_k = 0;             // of mAP, for parts of a protocol; 0: all
  std::vector<std::string> warnings;  // of what was passed over; encode_source() tells them
  int scaled_shorter_side = 0;        // data::DecodeOptions
};

/// Whether the list has paths alone. A pipe can't be asked: its lines are paths, unless told otherwise.
bool is_list_of_paths(const SourceOptions& options);

/// Of a model that wasn't trained so, "scaled" keeps this many times the shorter side that its transform
/// resizes to: fewer bits of codes change than with 1, as models trained with data.scaled_decode have it.
inline constexpr int kScaledMargin = 2;

/// How the model's images are decoded. Throws std::invalid_argument for another options.decode.
data::DecodeOptions decode_options(const ModelInfo& model, const std::filesystem::path& model_path,
                                   const SourceOptions& options);

/// Models of small images of one size (Fashion-MNIST) don't resize: of a photograph the centre alone
/// would be left. So an image that doesn't fit is shrunk until its longer side does.
void shrink_to_fit(data::Image& image, const data::TransformSpec& transform);

/// `model_path` is where the model lies. Throws std::invalid_argument and std::runtime_error.
Source open_source(const ModelInfo& model, const std::filesystem::path& model_path,
                   const SourceOptions& options);

/// A data set that isn't the model's own, for its transform: models of small images don't resize, so
/// larger ones are shrunk to fit.
std::shared_ptr<const data::Dataset> fitting(std::shared_ptr<const data::Dataset> dataset,
                                             const data::TransformSpec& transform);

/// Codes of all its items, with the model's hash and the source's name.
retrieval::CodeSet encode_source(const Model& model, const Source& source,
                                 const EncoderOptions& options);

}  // namespace hh::pipeline
