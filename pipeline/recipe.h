// SPDX-License-Identifier: Apache-2.0
// A training recipe: everything that decides what a run computes, read from TOML.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/experiments/protocol.h"
#include "engine/optim/optimizer.h"
#include "model/hybridhash/config.h"

namespace hh::pipeline {

/// CPU threads that may be asked for.
inline constexpr int kMostThreads = 1024;

struct Recipe {
  struct Data {
    std::string protocol = "fashion_mnist";  // data/experiments/protocol.h
    std::string path;                        // folder of the data; empty: the protocol's default
    std::string image_root;                  // what relative paths in lists start from
    std::string list_labels = "auto";        // auto, columns, class (data/sets/list_file.h)
    std::string split_file;  // safetensors with `query` and `train` indices; empty: seeded
    std::int64_t split_seed = 0;
    std::int64_t query_per_class = 0, train_per_class = 0;  // protocol "folder" only
    bool allow_other_counts = false;
    /// Turn photographs as their EXIF data says. Empty ("auto"): where the protocol is "folder" or
    /// "lists"; the published protocols decode as their authors did. read() and parse() settle it.
    std::optional<bool> exif_orientation;
    double max_pixels = data::kDefaultMegapixels;  // largest image that is read, millions
    bool scaled_decode = false;
    double flip = -1;    // probability of a horizontal flip in training; -1: the protocol's
    int max_shift = -1;  // largest random shift in training, pixels; -1: the protocol's crop
    /// Folder for the decoded pictures (data/cache/cached_dataset.h); empty: each epoch decodes.
    std::string cache;
    bool skip_bad = false;
    int workers = 1;  // loader threads
  } data;

  HybridHashConfig model = HybridHashConfig::preset("micro");

  struct Train {
    std::int64_t seed = 1;
    int epochs = 15;
    int batch = 64;
    int accumulate = 1;              // batches per optimiser step
    std::string dtype = "f32";       // f32, bf16, f16 (GPU): what the network computes in
    std::string bank_dtype = "f32";  // f32, f16, bf16
    float alpha = 0.5f;
    std::string recompute = "none";         // none, mlp, layer (model/hybridhash/hybridhash.h)
    bool graph = true;                      // on a GPU: record a step's launches and replay them
    std::string initialisation = "normal";  // normal, fan_in, generator
    float initial_std = 0.02f;              // of `normal`
    std::string weights;  // safetensors to start from; what it lacks keeps its initialisation
    int threads = 0;      // 0: all
    double checkpoint_minutes = 10;  // also save within an epoch, this often; 0: after epochs only
    double timeout_s = 600;          // of several GPUs: how long one waits for the others
  } train;

  OptimizerConfig optimizer;

  struct Schedule {
    std::string kind = "constant";
    float learning_rate = 2.5e-5f;
    double warmup_epochs = 0;
    float final_fraction = 0;
  } schedule;

  struct Evaluate {
    int every = 3;              // epochs; the last one is always evaluated
    std::int64_t hold_out = 0;  // training images kept back to choose the best checkpoint
    int patience = 0;       // evaluations without a better held-out mAP that end the run; 0: off
    bool by_query = false;  // also track the best by the query set, as the paper does
    int top_k = 0;          // of that mAP; 0: the protocol's
    int batch = 256;
  } evaluate;

  /// Reads a file ("" : all defaults), then applies `key=value` settings, e.g. "train.epochs=3" or
  /// "model.bits=64". "model.preset" sets all of [model] first. Throws std::invalid_argument for an
  /// unknown key (with the nearest known one), a wrong type or a value out of range.
  static Recipe read(const std::filesystem::path& file, const std::vector<std::string>& settings);

  /// The same from the text of a file; `name` is for errors.
  static Recipe parse(const std::string& text, const std::string& name,
                      const std::vector<std::string>& settings);

  void validate() const;
  /// Whether photographs are turned: data.exif_orientation, or the protocol's choice.
  bool turns_photographs() const;
  /// The same with paths that don't depend on the working directory, as runs and models keep it.
  Recipe with_absolute_paths() const;
  /// The whole recipe as TOML that read() takes.
  std::string to_toml() const;
  /// The same, with what docs/recipes.md says of each key above it.
  std::string to_commented_toml() const;
  data::ProtocolOptions protocol_options() const;

 private:
  std::string text_with(const std::function<std::string(const std::string& key)>& comment) const;
};

}  // namespace hh::pipeline
