// SPDX-License-Identifier: Apache-2.0
#include "apps/commands/outputs.h"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <string_view>

#include "data/images/decode.h"
#include "engine/files/safetensors.h"
#include "kernels/core/check.h"
#include "model/training/checkpoint.h"
#include "pipeline/model_file.h"

namespace hh::apps {
namespace {

namespace fs = std::filesystem;

/// Both lead to one file or folder that is there.
bool same(const fs::path& a, const fs::path& b) {
  struct stat x {
  }, y{};
  return ::stat(a.c_str(), &x) == 0 && ::stat(b.c_str(), &y) == 0 && x.st_dev == y.st_dev &&
         x.st_ino == y.st_ino;
}

/// Without links as far as it exists, and without "..".
fs::path resolved(const fs::path& path) {
  std::error_code failed;
  fs::path place = fs::weakly_canonical(fs::absolute(path), failed);
  return failed ? fs::absolute(path).lexically_normal() : place;
}

bool is_kept(const fs::path& path) {
  std::error_code ignored;
  const auto status = fs::status(path, ignored);
  return !fs::exists(status) || fs::is_regular_file(status) || fs::is_directory(status);
}

std::string first_bytes(const fs::path& path, std::size_t count) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(count, '\0');
  file.read(bytes.data(), std::streamsize(count));
  bytes.resize(std::size_t(file.gcount()));
  return bytes;
}

bool is_index(const fs::path& folder) {
  constexpr std::size_t kHead = std::size_t{64} << 10;
  return first_bytes(folder / "manifest.json", kHead).find("\"hybridhash index\"") !=
         std::string::npos;
}

bool is_picture(const fs::path& path) {
  const std::string head = first_bytes(path, 16);
  // Text may begin with these two letters as well.
  if (head.starts_with('P')) {
    return head.size() > 2 && head[1] >= '1' && head[1] <= '6' &&
           std::string_view(" \n\r\t#").find(head[2]) != std::string_view::npos;
  }
  if (head.starts_with("BM") && head.size() < 16) return false;
  return data::is_image({reinterpret_cast<const std::uint8_t*>(head.data()), head.size()});
}

/// Of what kind a file is that can't be had back by running a command once more; or empty.
std::string precious_kind(const fs::path& path) {
  if (is_picture(path)) return "a picture";
  if (path.extension() == ".toml") return "a recipe";
  const fs::path beside = path.parent_path() / "recipe.toml";
  for (const char* name : {"split.json", "metrics.csv"}) {
    if (path.filename() == name && fs::exists(beside)) return "part of a training run";
  }
  try {
    const auto file = SafetensorsFile::open(path);
    const auto format = file.metadata().find("format");
    if (format == file.metadata().end()) return "a file of tensors";
    if (format->second == pipeline::kModelFormat) return "a model";
    if (format->second == kCheckpointFormat) return "a checkpoint";
  } catch (const std::runtime_error&) {  // another format
  }
  return "";
}

[[noreturn]] void refuse(const NamedPath& output, const std::string& why) {
  throw std::invalid_argument(output.option + " " + output.path.string() + ": " + why +
                              ", which would be lost; choose another name");
}

void check_indexes_above(const NamedPath& output) {
  const fs::path place = resolved(output.path);
  for (fs::path at = place.parent_path();; at = at.parent_path()) {
    if (is_index(at)) {
      throw std::invalid_argument(output.option + " " + output.path.string() +
                                  ": this lies in the index " + at.string() +
                                  ", whose files only hybridhash index changes; choose another "
                                  "place");
    }
    if (at == at.parent_path()) return;
  }
}

}  // namespace

void check_output_files(const std::vector<NamedPath>& outputs,
                        const std::vector<NamedPath>& inputs) {
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const NamedPath& output = outputs[i];
    if (output.path.empty() || !is_kept(output.path)) continue;
    for (const NamedPath& input : inputs) {
      if (!input.path.empty() && same(input.path, output.path)) {
        refuse(output, "this is the input " + input.option + " " + input.path.string());
      }
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (!outputs[j].path.empty() && (same(outputs[j].path, output.path) ||
                                       resolved(outputs[j].path) == resolved(output.path))) {
        refuse(output, "this is also " + outputs[j].option);
      }
    }
    check_indexes_above(output);
    if (is_index(output.path)) refuse(output, "this is an index");
    const std::string kind = fs::is_regular_file(output.path) ? precious_kind(output.path) : "";
    if (!kind.empty()) refuse(output, "there is " + kind);
  }
}

void check_output_folder(const NamedPath& output, const std::vector<NamedPath>& inputs) {
  if (output.path.empty()) return;
  check_indexes_above(output);
  const fs::path place = resolved(output.path / "");
  const fs::path folder = place.has_filename() ? place : place.parent_path();
  for (const NamedPath& input : inputs) {
    if (input.path.empty()) continue;
    const fs::path other = resolved(input.path);
    const auto differs = std::mismatch(folder.begin(), folder.end(), other.begin(), other.end());
    if (differs.first == folder.end()) {
      refuse(output, "the input " + input.option + " " + input.path.string() + " lies there");
    }
  }
}

void check_is_folder(const NamedPath& output) {
  const fs::path place = fs::absolute(output.path).lexically_normal();
  for (fs::path at = place;; at = at.parent_path()) {
    std::error_code ignored;
    const auto status = fs::status(at, ignored);
    if (fs::exists(status) && !fs::is_directory(status)) {
      throw std::invalid_argument(
          output.option + " " + output.path.string() + ": " +
          (at == place ? "this is" : at.string() + " is") +
          (fs::is_regular_file(status) ? " a file" : " a device or a pipe") +
          ", and a folder is wanted; choose another name");
    }
    if (fs::exists(status) || at == at.parent_path()) return;
  }
}

std::vector<NamedPath> inputs_of(const pipeline::Recipe& recipe) {
  std::vector<NamedPath> inputs{{"data.split_file of the recipe,", recipe.data.split_file},
                                {"train.weights of the recipe,", recipe.train.weights}};
  // Single pictures are known by their bytes.
  const fs::path data = recipe.data.path;
  for (const char* name : {"test.txt", "train.txt", "database.txt"}) {
    inputs.push_back({"of the recipe's data,", data / name});
  }
  for (const std::string set : {"train", "t10k"}) {
    for (const char* ending : {"", ".gz"}) {
      for (const char* part : {"-images-idx3-ubyte", "-labels-idx1-ubyte"}) {
        inputs.push_back({"of the recipe's data,", data / (set + part + ending)});
      }
    }
  }
  for (const char* batch : {"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4",
                            "data_batch_5", "test_batch"}) {
    for (const fs::path& folder : {data, data / "cifar-10-batches-bin"}) {
      inputs.push_back({"of the recipe's data,", folder / (std::string(batch) + ".bin")});
    }
  }
  return inputs;
}

std::vector<NamedPath> inputs_of(const std::string& model, const pipeline::SourceOptions& source) {
  std::vector<NamedPath> inputs{
      {"--model", model},          {"--split", source.split},
      {"--folder", source.folder}, {"--class-folder", source.class_folder},
      {"--list", source.list},     {"--tar", source.tar}};
  if (!model.empty()) {
    const fs::path beside = fs::path(model).parent_path();
    for (const char* name : {"split.json", "recipe.toml"}) {
      inputs.push_back({"of the model,", beside / name});
    }
  }
  for (const std::string& file : source.files) inputs.push_back({"image", file});
  if (source.part.empty() || model.empty()) return inputs;
  try {
    const auto info =
        pipeline::parse_model_metadata(SafetensorsFile::open(model).metadata(), model);
    const auto more = inputs_of(pipeline::Recipe::parse(info.recipe, model, source.settings));
    inputs.insert(inputs.end(), more.begin(), more.end());
  } catch (const std::exception&) {  // loading the model says what is wrong with it
  }
  return inputs;
}

}  // namespace hh::apps
