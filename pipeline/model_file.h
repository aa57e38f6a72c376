// SPDX-License-Identifier: Apache-2.0
// A trained network as it serves: a safetensors file of weights under the reference's names, with
// everything in its metadata that turns an image into a code. docs/formats.md
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/images/transform.h"
#include "engine/tensor/network_type.h"
#include "model/hybridhash/hybridhash.h"
#include "model/training/checkpoint.h"
#include "model/training/pixels.h"

namespace hh::pipeline {

/// What a model file says about itself.
struct ModelInfo {
  HybridHashConfig config;
  data::TransformSpec transform;         // of evaluation: nothing random
  bool exif_orientation = false;         // photographs are turned as their EXIF data says
  std::vector<std::string> class_names;  // may be empty
  std::string protocol;                  // data/experiments/protocol.h
  std::string recipe;                    // TOML of the run, for encoding more of its data
};

inline constexpr const char* kModelFormat = "hybridhash model 1";

/// As metadata of a safetensors file (also of checkpoints, which serve as models too).
Metadata model_metadata(const ModelInfo& info);
/// Throws std::runtime_error, starting with `file`, when something is missing or broken.
ModelInfo parse_model_metadata(const Metadata& metadata, const std::string& file);

/// The model's transform as JSON, one text for one transform.
std::string transform_text(const ModelInfo& info);

/// What a model file says without its weights being read.
struct ModelHead {
  ModelInfo info;
  std::string hash;  // as Model::hash, which load_model() checks
};
/// A checkpoint doesn't tell its hash: its weights are read for it.
ModelHead read_model_head(const std::filesystem::path& path, NetworkType type);

/// Writes atomically; a hash of the weights goes along, by which load_model() sees damage.
void save_model(const std::filesystem::path& path, const Parameters& parameters,
                const ModelInfo& info);

/// A network ready to encode.
class Model {
 public:
  Model(const ModelInfo& info, Device device, NetworkType type);
  ModelInfo info;
  Device device;
  DType dtype;  // of activations
  Parameters parameters;
  HybridHash network;
  /// 16 hexadecimal digits of the weights' SHA-256, and "-int8" for products of bytes: code files and
  /// indexes carry it, so that codes of different models are never compared.
  std::string hash;
};

/// Loads a model file or a checkpoint. Throws std::runtime_error or std::invalid_argument with file
/// and reason; also when the weights aren't those that were saved.
std::unique_ptr<Model> load_model(const std::filesystem::path& path, Device device,
                                  NetworkType type);

/// SHA-256 of names, shapes and float32 values of all parameters, in the order of their names.
std::string weights_sha256(const Parameters& parameters);
/// The first 16 digits of it.
std::string model_hash(const Parameters& parameters);

/// What the network's first kernel subtracts and divides by.
PixelStatistics pixel_statistics(const data::TransformSpec& transform);

}  // namespace hh::pipeline
