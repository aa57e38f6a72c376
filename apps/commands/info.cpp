// SPDX-License-Identifier: Apache-2.0
// hybridhash info: what a file is, or what this machine has.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "apps/commands/command.h"
#include "apps/commands/index_info.h"
#include "apps/terminal/shown_text.h"
#include "engine/device/backend.h"
#include "engine/files/file.h"
#include "engine/text/counted.h"
#include "engine/text/json_error.h"
#include "engine/text/json_text.h"
#include "kernels/core/parallel.h"
#include "kernels/core/simd.h"
#include "kernels/gemm/instructions.h"
#include "pipeline/metrics_log.h"
#include "pipeline/model_file.h"
#include "pipeline/recipe.h"
#include "retrieval/codes/code_file.h"
#include "retrieval/codes/code_statistics.h"

namespace hh::apps {
namespace {

struct Options {
  std::vector<std::string> files;
  bool simd_sets = false, tensors = false;
};

void line(const std::string& key, const std::string& value) { say("  {:<12} {}\n", key, value); }

std::string cuda_text() {
  try {
    const Device device = parse_device("cuda");
    const Backend& gpu = backend(device);
    return fmt::format("{}: {}, {}", to_string(device), gpu.name(), gpu.machine_code());
  } catch (const std::exception& why) {
    return fmt::format("none: {}", why.what());
  }
}

void describe_machine(const std::string& version) {
  const double memory = double(sysconf(_SC_PHYS_PAGES)) * double(sysconf(_SC_PAGE_SIZE));
  say("hybridhash {}\n", version);
  line("compiler", __VERSION__);
  line("SIMD",
       fmt::format("{} in use, of {}", cpu::simd_in_use(), fmt::join(cpu::simd_available(), ", ")));
  line("products", fmt::format("beside float32: {}{}", cpu::product_instructions(),
                               cpu::bf16_gains() ? "" : "; bf16 is computed in float32"));
  line("threads", fmt::format("{} in use, {} in hardware", cpu::num_threads(),
                              std::thread::hardware_concurrency()));
  line("memory", fmt::format("{:.1f} GiB", memory / 0x1p30));
  line("GPU", cuda_text());
}

std::string transform_text(const data::TransformSpec& t) {
  const std::string cut = fmt::format("the middle {} x {}", t.size, t.size);
  switch (t.resize) {
    case data::Resize::kShorterSide:
      return fmt::format("shorter side to {}, {}", t.resize_to, cut);
    case data::Resize::kExact:
      return fmt::format("both sides to {}{}", t.resize_to,
                         t.resize_to == t.size ? std::string() : ", " + cut);
    case data::Resize::kNone:
      break;
  }
  return fmt::format("images of {} x {} as they are, larger ones shrunk, smaller ones padded",
                     t.size, t.size);
}

void describe_network(const pipeline::ModelInfo& info) {
  const HybridHashConfig& c = info.config;
  Parameters parameters;
  const HybridHash network(c, parameters);
  line("network",
       fmt::format("{} x {} pixels, {} channels, patch {}, widths {}, heads {}, depths {}",
                   c.image_size, c.image_size, c.in_channels, c.patch, fmt::join(c.dims, "/"),
                   fmt::join(c.heads, "/"), fmt::join(c.depths, "/")));
  line("bits", std::to_string(c.bits));
  line("parameters", std::to_string(parameters.count()));
  line("protocol", info.protocol);
  line("transform", transform_text(info.transform));
  line("EXIF", info.exif_orientation ? "photographs are turned as it says" : "ignored");
  if (!info.class_names.empty())
    line("classes", fmt::format("{}", fmt::join(info.class_names, ", ")));
}

void describe_tensors(const SafetensorsFile& file) {
  for (const std::string& name : file.names()) {
    const SafetensorsFile::Entry& entry = file.entry(name);
    say("    {:<60} {:<5} [{}]\n", name, entry.dtype, fmt::join(entry.shape, ", "));
  }
}

void describe_codes(const std::string& path) {
  const retrieval::CodeSet set = retrieval::read_codes(path);
  const retrieval::CodeStatistics s = retrieval::code_statistics(set.codes);
  say("{}: code file\n", path);
  line("codes", fmt::format("{} of {}, {} distinct", s.count, counted(s.bits, "bit"), s.distinct));
  line("source", set.source.empty() ? "unknown" : set.source);
  if (set.scaled_shorter_side > 0) {
    line("JPEGs", fmt::format("decoded at a fraction, down to {} pixels of the shorter side",
                              set.scaled_shorter_side));
  }
  line("model", set.model_hash.empty() ? "unknown" : set.model_hash);
  line("labels", set.classes == 0 ? "none" : counted(set.classes, "class", "classes"));
  line("names", set.names.empty() ? "none" : fmt::format("{}, ...", set.names.front()));
  line("outputs", set.outputs.empty() ? "not kept" : "kept");
  line("imbalance", fmt::format("{:.4f}", s.mean_imbalance));
}

void describe_safetensors(const std::string& path, bool tensors) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  const Metadata& metadata = file.metadata();
  const auto format = metadata.find("format");
  const std::string kind = format == metadata.end() ? "" : format->second;
  if (kind == "hybridhash codes") return describe_codes(path);
  if (kind == pipeline::kModelFormat ||
      (kind == kCheckpointFormat && metadata.contains("transform"))) {
    const bool checkpoint = kind == kCheckpointFormat;
    say("{}: {}\n", path, checkpoint ? "checkpoint of a training run" : "trained model");
    describe_network(pipeline::parse_model_metadata(metadata, path));
    if (checkpoint) {
      line("steps", metadata.at("steps"));
      if (metadata.contains("position")) line("position", metadata.at("position"));
    } else {
      // Loading checks the weights against their hash.
      line("model", pipeline::load_model(path, kCpu, DType::f32)->hash);
    }
  } else {
    say("{}: {}\n", path, kind.empty() ? "safetensors file" : kind);
    for (const auto& [key, value] : metadata) {
      constexpr std::size_t kLongest = 120;
      line(key, value.size() > kLongest ? value.substr(0, kLongest) + " ..." : value);
    }
  }
  line("tensors", std::to_string(file.names().size()));
  if (tensors) describe_tensors(file);
}

void describe_run(const std::filesystem::path& folder) {
  const pipeline::Recipe recipe = pipeline::Recipe::read(folder / "recipe.toml", {});
  say("{}: training run\n", folder.string());
  line("protocol", recipe.data.protocol);
  line("bits", std::to_string(recipe.model.bits));
  const auto log = pipeline::MetricsLog::read(folder / "metrics.csv");
  const std::vector<double> loss = log.column("loss").values;
  line("epochs", fmt::format("{} of {} done", loss.size(), recipe.train.epochs));
  if (!loss.empty()) line("loss", fmt::format("{:.4f}", loss.back()));
  for (const char* name : {"held_out_map", "query_map"}) {
    const std::vector<double> map = log.column(name).values;
    if (map.empty()) continue;
    line(name, fmt::format("{:.4f} last, {:.4f} best", map.back(),
                           *std::max_element(map.begin(), map.end())));
  }
}

void describe_json(const std::string& path) {
  constexpr std::size_t kMaxBytes = std::size_t{1} << 30;
  const auto bytes = read_file(path, kMaxBytes);
  nlohmann::json json;
  try {
    json = parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  } catch (const nlohmann::json::exception& error) {
    throw std::runtime_error(path + ": " + json_error_text(error));
  }
  const bool split = json.is_object() && json.contains("format") && json["format"].is_string() &&
                     json["format"].get<std::string>().starts_with("hybridhash split ");
  say("{}: {}\n", path, split ? "split of a data set" : "JSON");
  if (!json.is_object()) return;
  for (const auto& [key, value] : json.items()) {
    line(key, value.is_structured() ? counted(value.size(), "entry", "entries") : json_text(value));
  }
}

void describe(const std::string& path, bool tensors) {
  if (std::filesystem::is_directory(path)) {
    if (std::filesystem::exists(std::filesystem::path(path) / "manifest.json")) {
      return print_index(path, false);
    }
    HH_REQUIRE(
        std::filesystem::exists(std::filesystem::path(path) / "recipe.toml"),
        path << ": a folder without a training run (recipe.toml) or an index (manifest.json)");
    return describe_run(path);
  }
  HH_REQUIRE(std::filesystem::exists(path), path << ": there is no such file");
  if (path.ends_with(".toml")) {
    say("{}: recipe, with all defaults\n", path);
    fmt::print("{}", shown_lines(pipeline::Recipe::read(path, {}).to_toml()));
  } else if (path.ends_with(".json")) {
    describe_json(path);
  } else if (path.ends_with(".npy")) {
    describe_codes(path);
  } else {
    describe_safetensors(path, tensors);
  }
}

void run(const Options& o, const std::string& version) {
  // For scripts: the weakest first.
  if (o.simd_sets) return say("{}\n", fmt::join(cpu::simd_available(), " "));
  if (o.files.empty()) return describe_machine(version);
  for (const std::string& file : o.files) describe(file, o.tensors);
}

}  // namespace

void add_info(Command program) {
  auto options = std::make_shared<Options>();
  Command command = program.add_subcommand("info", "Tell what a file is, or what this machine has");
  command.add_option("files", options->files,
                     "models, checkpoints, code files, indexes, recipes, run folders");
  command.add_flag("--tensors", options->tensors, "list the tensors of models and checkpoints");
  command.add_flag("--simd-sets", options->simd_sets,
                   "print the instruction sets and nothing else");
  add_examples(command, "  hybridhash info\n  hybridhash info runs/mine/best.safetensors\n");
  const std::string version = program.version();
  command.callback([options, version] { run(*options, version); });
}

}  // namespace hh::apps
