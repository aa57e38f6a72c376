// SPDX-License-Identifier: Apache-2.0
#include "pipeline/model_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/files/sha256.h"
#include "engine/text/json_error.h"
#include "engine/text/json_text.h"
#include "retrieval/codes/model_hash.h"

namespace hh::pipeline {
namespace {

constexpr std::size_t kHashDigits = 16;
constexpr const char* kResizeNames[] = {"none", "shorter_side", "exact"};

nlohmann::ordered_json transform_json(const data::TransformSpec& t) {
  return {{"size", t.size},
          {"channels", t.channels},
          {"resize", kResizeNames[std::size_t(t.resize)]},
          {"resize_to", t.resize_to},
          {"mean", t.mean},
          {"std", t.std}};
}

data::TransformSpec transform_from(const nlohmann::json& json) {
  data::TransformSpec t;
  json.at("size").get_to(t.size);
  json.at("channels").get_to(t.channels);
  const auto resize = json.at("resize").get<std::string>();
  const auto* name = std::find(std::begin(kResizeNames), std::end(kResizeNames), resize);
  HH_REQUIRE(name != std::end(kResizeNames),
             "its resize is '" << resize << "', which this program doesn't know; use a newer one");
  t.resize = data::Resize(name - std::begin(kResizeNames));
  json.at("resize_to").get_to(t.resize_to);
  json.at("mean").get_to(t.mean);
  json.at("std").get_to(t.std);
  t.validate();
  return t;
}

const std::string& value(const Metadata& metadata, const std::string& key) {
  const auto it = metadata.find(key);
  if (it == metadata.end()) {
    throw std::invalid_argument("its metadata has no \"" + key +
                                "\", so it is no model of ours: plain weights are taken by "
                                "hybridhash train (train.weights)");
  }
  return it->second;
}

std::string hash_of(const std::string& weights_sha256, NetworkType type) {
  std::string hash = weights_sha256.substr(0, kHashDigits);
  if (type.quantised) hash += retrieval::kInt8Suffix;
  return hash;
}

/// Models of before it was stored have it in their recipe, which was written with all its keys.
bool exif_orientation_of(const Metadata& metadata) {
  const auto stored = metadata.find("exif_orientation");
  if (stored == metadata.end()) {
    return value(metadata, "recipe").find("\nexif_orientation = true\n") != std::string::npos;
  }
  HH_REQUIRE(
      stored->second == "true" || stored->second == "false",
      "its exif_orientation is '" << stored->second << "', not true or false: the file is damaged");
  return stored->second == "true";
}

}  // namespace

Metadata model_metadata(const ModelInfo& info) {
  return {{"format", kModelFormat},
          {"config", to_json(info.config)},
          {"transform", json_text(transform_json(info.transform))},
          {"exif_orientation", info.exif_orientation ? "true" : "false"},
          {"class_names", json_text(nlohmann::json(info.class_names))},
          {"protocol", info.protocol},
          {"recipe", info.recipe}};
}

ModelInfo parse_model_metadata(const Metadata& metadata, const std::string& file) {
  try {
    const std::string& format = value(metadata, "format");
    HH_REQUIRE(format == kModelFormat || format == kCheckpointFormat,
               "its format is '" << format << "'; wanted: '" << kModelFormat
                                 << "': give best.safetensors of a run");
    ModelInfo info{.config = config_from_json(value(metadata, "config")),
                   .transform = transform_from(parse_json(value(metadata, "transform"))),
                   .exif_orientation = exif_orientation_of(metadata),
                   .protocol = value(metadata, "protocol"),
                   .recipe = value(metadata, "recipe")};
    parse_json(value(metadata, "class_names")).get_to(info.class_names);
    HH_REQUIRE(info.transform.size == info.config.image_size &&
                   info.transform.channels == info.config.in_channels,
               "its transform makes images of "
                   << info.transform.size << " pixels and " << info.transform.channels
                   << " channels, and its network takes others: the file is damaged");
    return info;
  } catch (const std::exception& error) {  // also the JSON library's
    throw std::runtime_error(file + ": " + json_error_text(error));
  }
}

std::string transform_text(const ModelInfo& info) {
  return json_text(transform_json(info.transform));
}

ModelHead read_model_head(const std::filesystem::path& path, NetworkType type) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  ModelHead head{.info = parse_model_metadata(file.metadata(), path.string()), .hash = ""};
  const auto saved = file.metadata().find("weights_sha256");
  head.hash = saved != file.metadata().end()
                  ? hash_of(saved->second, type)
                  : hash_of(load_model(path, kCpu, DType::f32)->hash, type);
  return head;
}

void save_model(const std::filesystem::path& path, const Parameters& parameters,
                const ModelInfo& info) {
  std::vector<std::vector<std::byte>> store;
  const std::vector<SafetensorsItem> items = weight_items(parameters, store);
  Metadata metadata = model_metadata(info);
  metadata["weights_sha256"] = weights_sha256(parameters);
  write_safetensors(path, items, metadata);
}

Model::Model(const ModelInfo& info_in, Device device_in, NetworkType type)
    : info(info_in),
      device(device_in),
      dtype(type.activations),
      network(info_in.config, parameters) {
  parameters.place(device, dtype, /*trainable=*/false);
}

std::unique_ptr<Model> load_model(const std::filesystem::path& path, Device device,
                                  NetworkType type) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  const ModelInfo info = parse_model_metadata(file.metadata(), path.string());
  auto model = std::make_unique<Model>(info, device, type);
  load_weights(file, path.string(), model->parameters, Loading::kStrict);
  const std::string sha256 = weights_sha256(model->parameters);
  const auto saved = file.metadata().find("weights_sha256");
  if (saved != file.metadata().end() && saved->second != sha256) {
    throw std::runtime_error(path.string() +
                             ": the weights aren't those that were saved (SHA-256 " + sha256 +
                             ", not " + saved->second + "): the file is damaged; copy it again");
  }
  model->hash = hash_of(sha256, type);
  type.quantised ? model->parameters.quantise() : model->parameters.pack();
  return model;
}

std::string weights_sha256(const Parameters& parameters) {
  std::vector<const Parameter*> sorted;
  for (const Parameter& p : parameters.all()) sorted.push_back(&p);
  std::sort(sorted.begin(), sorted.end(),
            [](const Parameter* a, const Parameter* b) { return a->name() < b->name(); });
  Sha256 sha;
  for (const Parameter* p : sorted) {
    sha.update(p->name() + " " + to_string(p->shape()) + "\n");
    const std::vector<float> values = p->weight().to_host<float>();
    sha.update(std::as_bytes(std::span(values)));
  }
  return sha.hex();
}

std::string model_hash(const Parameters& parameters) {
  return weights_sha256(parameters).substr(0, kHashDigits);
}

PixelStatistics pixel_statistics(const data::TransformSpec& transform) {
  PixelStatistics statistics;
  for (std::size_t c = 0; c < 3; ++c) {
    statistics.mean[c] = transform.mean[c];
    statistics.std[c] = transform.std[c];
  }
  return statistics;
}

}  // namespace hh::pipeline
