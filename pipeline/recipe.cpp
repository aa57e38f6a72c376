// SPDX-License-Identifier: Apache-2.0
#include "pipeline/recipe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <numeric>

#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include "engine/files/file.h"
#include "engine/text/utf8.h"
#include "model/hybridhash/hybridhash.h"
#include "pipeline/nearest_name.h"
#include "pipeline/recipe_help.h"

namespace hh::pipeline {
namespace {

/// One key of the recipe: how it is read from TOML and written back.
struct Key {
  std::function<void(const toml::node&)> read;
  std::function<std::string()> write;
};
using Keys = std::vector<std::pair<std::string, Key>>;

template <class T>
constexpr const char* kind_of() {
  if constexpr (std::is_same_v<T, bool>) return "true or false";
  if constexpr (std::is_same_v<T, std::optional<bool>>) return "\"auto\", true or false";
  if constexpr (std::is_same_v<T, std::string>) return "a string";
  if constexpr (std::is_integral_v<T>) return "a whole number";
  return "a number";
}

template <class T>
T value_of(const std::string& name, const toml::node& node) {
  if constexpr (std::is_same_v<T, std::array<int, 3>>) {
    const toml::array* array = node.as_array();
    HH_REQUIRE(array != nullptr && array->size() == 3,
               name << ": write three whole numbers, one per level, as [32, 64, 128]");
    std::array<int, 3> values{};
    for (std::size_t i = 0; i < 3; ++i) values[i] = value_of<int>(name, *array->get(i));
    return values;
  } else if constexpr (std::is_same_v<T, std::optional<bool>>) {
    if (node.value_exact<std::string>() == "auto") return std::nullopt;
    const auto value = node.value_exact<bool>();
    HH_REQUIRE(value.has_value(), name << ": write " << kind_of<T>());
    return value;
  } else if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, std::string>) {
    const auto value = node.value_exact<T>();
    HH_REQUIRE(value.has_value(), name << ": write " << kind_of<T>());
    if constexpr (std::is_same_v<T, std::string>) return bytes_of_utf8(*value);  // it may be a path
    return *value;
  } else if constexpr (std::is_integral_v<T>) {
    const auto value = node.value_exact<std::int64_t>();
    HH_REQUIRE(value.has_value() && std::in_range<T>(*value), name << ": write " << kind_of<T>());
    return T(*value);
  } else {
    const auto value = node.value<double>();  // takes whole numbers too
    HH_REQUIRE(value.has_value(), name << ": write " << kind_of<T>());
    return T(*value);
  }
}

template <class T>
std::string text_of(const T& value) {
  if constexpr (std::is_same_v<T, std::array<int, 3>>) {
    return fmt::format("[{}]", fmt::join(value, ", "));
  } else if constexpr (std::is_floating_point_v<T>) {
    std::string text = fmt::format("{}", value);
    if (text.find_first_of(".en") == std::string::npos) text += ".0";
    return text;
  } else {
    return fmt::format("{}", value);
  }
}

template <>
std::string text_of(const std::string& value) {
  std::string text = "\"";
  for (const char c : as_utf8(value)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      text += fmt::format("\\u{:04x}", byte);
      continue;
    }
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text + '"';
}

template <>
std::string text_of(const std::optional<bool>& value) {
  return value ? text_of(*value) : text_of(std::string("auto"));
}

/// All keys, in the order they are written.
Keys keys_of(Recipe& r) {
  Keys keys;
  const auto add = [&](const char* name, auto& field) {
    using T = std::remove_reference_t<decltype(field)>;
    keys.emplace_back(
        name, Key{[name, &field](const toml::node& node) { field = value_of<T>(name, node); },
                  [&field] { return text_of(field); }});
  };
  add("data.protocol", r.data.protocol);
  add("data.path", r.data.path);
  add("data.image_root", r.data.image_root);
  add("data.list_labels", r.data.list_labels);
  add("data.split_file", r.data.split_file);
  add("data.split_seed", r.data.split_seed);
  add("data.query_per_class", r.data.query_per_class);
  add("data.train_per_class", r.data.train_per_class);
  add("data.allow_other_counts", r.data.allow_other_counts);
  add("data.exif_orientation", r.data.exif_orientation);
  add("data.max_pixels", r.data.max_pixels);
  add("data.scaled_decode", r.data.scaled_decode);
  add("data.flip", r.data.flip);
  add("data.max_shift", r.data.max_shift);
  add("data.cache", r.data.cache);
  add("data.skip_bad", r.data.skip_bad);
  add("data.workers", r.data.workers);
  add("model.image_size", r.model.image_size);
  add("model.patch", r.model.patch);
  add("model.in_channels", r.model.in_channels);
  add("model.dims", r.model.dims);
  add("model.heads", r.model.heads);
  add("model.depths", r.model.depths);
  add("model.bits", r.model.bits);
  add("model.drop_path", r.model.drop_path);
  add("train.seed", r.train.seed);
  add("train.epochs", r.train.epochs);
  add("train.batch", r.train.batch);
  add("train.accumulate", r.train.accumulate);
  add("train.dtype", r.train.dtype);
  add("train.bank_dtype", r.train.bank_dtype);
  add("train.alpha", r.train.alpha);
  add("train.recompute", r.train.recompute);
  add("train.graph", r.train.graph);
  add("train.initialisation", r.train.initialisation);
  add("train.initial_std", r.train.initial_std);
  add("train.weights", r.train.weights);
  add("train.threads", r.train.threads);
  add("train.checkpoint_minutes", r.train.checkpoint_minutes);
  add("train.timeout_s", r.train.timeout_s);
  add("optimizer.kind", r.optimizer.kind);
  add("optimizer.weight_decay", r.optimizer.weight_decay);
  add("optimizer.decay_matrices_only", r.optimizer.decay_matrices_only);
  add("optimizer.rho", r.optimizer.rho);
  add("optimizer.beta1", r.optimizer.beta1);
  add("optimizer.beta2", r.optimizer.beta2);
  add("optimizer.momentum", r.optimizer.momentum);
  add("optimizer.eps", r.optimizer.eps);
  add("optimizer.clip_norm", r.optimizer.clip_norm);
  add("schedule.kind", r.schedule.kind);
  add("schedule.learning_rate", r.schedule.learning_rate);
  add("schedule.warmup_epochs", r.schedule.warmup_epochs);
  add("schedule.final_fraction", r.schedule.final_fraction);
  add("evaluate.every", r.evaluate.every);
  add("evaluate.hold_out", r.evaluate.hold_out);
  add("evaluate.patience", r.evaluate.patience);
  add("evaluate.by_query", r.evaluate.by_query);
  add("evaluate.top_k", r.evaluate.top_k);
  add("evaluate.batch", r.evaluate.batch);
  return keys;
}

/// How other programs call it, and how we do.
constexpr std::pair<std::string_view, const char*> kElsewhere[] = {
    {"lr", "schedule.learning_rate"},     {"learningrate", "schedule.learning_rate"},
    {"batch_size", "train.batch"},        {"num_epochs", "train.epochs"},
    {"wd", "optimizer.weight_decay"},     {"num_workers", "data.workers"},
    {"warmup", "schedule.warmup_epochs"}, {"root", "data.path"},
    {"dataset", "data.protocol"},         {"image_dir", "data.path"},
    {"hash_bit", "model.bits"},           {"hash_bits", "model.bits"},
    {"pretrained", "train.weights"},      {"img_size", "model.image_size"},
    {"scheduler", "schedule.kind"},       {"precision", "train.dtype"},
    {"grad_accum", "train.accumulate"},   {"amp", "train.dtype"},
};

/// The key that was meant by one that isn't there: of the same name in another section, by another
/// program's name, or by the fewest letters that differ.
std::string nearest(const std::string& name, const Keys& keys) {
  const auto last = [](const std::string& key) { return key.substr(key.find('.') + 1); };
  std::vector<std::string> names, same;
  for (const auto& [key, value] : keys) {
    names.push_back(key);
    if (last(key) == last(name)) same.push_back(key);
  }
  if (same.size() == 1) return same[0];
  for (const auto& [elsewhere, ours] : kElsewhere) {
    if (last(name) == elsewhere) return ours;
  }
  return nearest_name(name, same.empty() ? names : same);
}

constexpr const char* kPreset = "model.preset";

void apply(const toml::table& table, Recipe& recipe) {
  if (const toml::node_view preset = table["model"]["preset"]) {
    recipe.model = HybridHashConfig::preset(value_of<std::string>(kPreset, *preset.node()));
  }
  const Keys keys = keys_of(recipe);
  for (const auto& [section, node] : table) {
    const toml::table* entries = node.as_table();
    HH_REQUIRE(entries != nullptr, "recipe key '" << section.str()
                                                  << "': keys stand in a section, as "
                                                  << nearest(std::string(section.str()), keys));
    for (const auto& [entry, value] : *entries) {
      const std::string name = std::string(section.str()) + "." + std::string(entry.str());
      if (name == kPreset) continue;
      const auto key =
          std::find_if(keys.begin(), keys.end(), [&](const auto& k) { return k.first == name; });
      HH_REQUIRE(key != keys.end(),
                 "recipe key '" << name << "' is unknown; the nearest is " << nearest(name, keys));
      key->second.read(value);
    }
  }
}

/// "a.b=text": a value that TOML can't read is taken as a string, so that quotes may be left out.
toml::table parse_setting(const std::string& setting) {
  const std::size_t equals = setting.find('=');
  HH_REQUIRE(equals != std::string::npos && equals > 0,
             "setting '" << setting << "': write key=value, as train.epochs=3");
  const std::string key = setting.substr(0, equals), value = setting.substr(equals + 1);
  try {
    return toml::parse(key + " = " + value);
  } catch (const toml::parse_error&) {
    try {
      return toml::parse(key + " = " + text_of(value));
    } catch (const toml::parse_error& error) {
      throw std::invalid_argument("setting '" + setting + "': " + std::string(error.description()));
    }
  }
}

bool one_of(const std::string& value, std::initializer_list<const char*> choices) {
  return std::any_of(choices.begin(), choices.end(), [&](const char* c) { return value == c; });
}

constexpr double kLargest = std::numeric_limits<float>::max();

/// Infinity is none, nor is what becomes it as a float.
void require_positive(const char* key, double value) {
  HH_REQUIRE(value > 0 && value <= kLargest,
             key << " = " << value << ": use a finite number above 0, at most 3.4e38");
}
void require_not_negative(const char* key, double value) {
  HH_REQUIRE(value >= 0 && value <= kLargest,
             key << " = " << value << ": use a finite number, 0 to 3.4e38");
}

}  // namespace

Recipe Recipe::read(const std::filesystem::path& file, const std::vector<std::string>& settings) {
  if (file.empty()) return parse("", "", settings);
  constexpr std::size_t kMaxBytes = std::size_t{1} << 20;
  const std::vector<std::uint8_t> bytes = read_file(file, kMaxBytes);
  return parse(std::string(bytes.begin(), bytes.end()), file.string(), settings);
}

Recipe Recipe::parse(const std::string& text, const std::string& name,
                     const std::vector<std::string>& settings) {
  Recipe recipe;
  try {
    apply(toml::parse(text), recipe);
  } catch (const toml::parse_error& error) {
    throw std::invalid_argument(
        fmt::format("{}:{}: {} (a recipe is TOML text, as those in recipes/)", name,
                    error.source().begin.line, error.description()));
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(name + ": " + error.what());
  }
  for (const std::string& setting : settings) apply(parse_setting(setting), recipe);
  recipe.validate();
  recipe.data.exif_orientation = recipe.turns_photographs();
  return recipe;
}

void Recipe::validate() const {
  require_positive("schedule.learning_rate", schedule.learning_rate);
  require_not_negative("schedule.warmup_epochs", schedule.warmup_epochs);
  require_not_negative("optimizer.weight_decay", optimizer.weight_decay);
  require_not_negative("optimizer.clip_norm", optimizer.clip_norm);
  require_positive("optimizer.eps", optimizer.eps);
  require_positive("train.alpha", train.alpha);
  require_positive("train.initial_std", train.initial_std);
  require_not_negative("train.checkpoint_minutes", train.checkpoint_minutes);
  require_positive("train.timeout_s", train.timeout_s);
  recompute_named(train.recompute);
  model.validate();
  optimizer.validate();
  data::find_protocol(data.protocol);
  data::list_labels_named(data.list_labels);
  LearningRateSchedule{.kind = schedule.kind,
                       .base = schedule.learning_rate,
                       .final_fraction = schedule.final_fraction}
      .validate();
  HH_REQUIRE(train.epochs >= 1 && train.epochs <= 100000,
             "train.epochs = " << train.epochs << ": use 1 to 100000");
  HH_REQUIRE(train.batch >= 1 && train.batch <= 65536,
             "train.batch = " << train.batch << ": use 1 to 65536");
  HH_REQUIRE(train.accumulate >= 1 && train.accumulate <= 65536,
             "train.accumulate = " << train.accumulate << ": use 1 to 65536");
  HH_REQUIRE(one_of(train.dtype, {"f32", "bf16", "f16"}),
             "train.dtype = " << train.dtype << ": use f32, bf16 or (on a GPU) f16");
  HH_REQUIRE(one_of(train.bank_dtype, {"f32", "f16", "bf16"}),
             "train.bank_dtype = " << train.bank_dtype << ": use f32, f16 or bf16");
  HH_REQUIRE(
      one_of(train.initialisation, {"normal", "fan_in", "generator"}),
      "train.initialisation = " << train.initialisation << ": use normal, fan_in or generator");
  HH_REQUIRE(train.seed >= 0 && data.split_seed >= 0,
             "train.seed = " << train.seed << " and data.split_seed = " << data.split_seed
                             << ": use 0 or more");
  HH_REQUIRE(train.threads >= 0 && train.threads <= kMostThreads,
             "train.threads = " << train.threads << ": use 0 (all) to " << kMostThreads);
  HH_REQUIRE(data.query_per_class >= 0,
             "data.query_per_class = " << data.query_per_class
                                       << ": use 0 (a tenth of the smallest class) or more");
  HH_REQUIRE(data.train_per_class >= 0,
             "data.train_per_class = " << data.train_per_class << ": use 0 (all) or more");
  HH_REQUIRE(data.workers >= 0 && data.workers <= 256,
             "data.workers = " << data.workers << ": use 0 to 256");
  HH_REQUIRE(data.max_pixels > 0 && data.max_pixels <= data::kMostMegapixels,
             "data.max_pixels = " << data.max_pixels << ": use up to " << data::kMostMegapixels
                                  << ", in millions");
  HH_REQUIRE(data.flip == -1 || (data.flip >= 0 && data.flip <= 1),
             "data.flip = " << data.flip << ": use 0 to 1, or -1 for the protocol's");
  HH_REQUIRE(data.max_shift >= -1 && data.max_shift < model.image_size,
             "data.max_shift = " << data.max_shift << ": use 0 to " << model.image_size - 1
                                 << ", or -1 for the protocol's crop");
  HH_REQUIRE(data.cache.empty() || data::is_of_files(data.protocol),
             "data.cache = " << data.cache << ": the images of " << data.protocol
                             << " are held in memory, decoded: leave it out");
  HH_REQUIRE(evaluate.every >= 1, "evaluate.every = " << evaluate.every << ": use 1 or more");
  HH_REQUIRE(evaluate.hold_out >= 0,
             "evaluate.hold_out = " << evaluate.hold_out << ": use 0 (none) or more");
  HH_REQUIRE(evaluate.patience >= 0,
             "evaluate.patience = " << evaluate.patience << ": use 0 (off) or more");
  HH_REQUIRE(evaluate.patience == 0 || evaluate.hold_out > 0,
             "evaluate.patience = " << evaluate.patience
                                    << ": it waits for a better held-out mAP, so set "
                                       "evaluate.hold_out too");
  HH_REQUIRE(evaluate.top_k >= 0,
             "evaluate.top_k = " << evaluate.top_k << ": use 0 (the protocol's) or more");
  HH_REQUIRE(evaluate.batch >= 1 && evaluate.batch <= 65536,
             "evaluate.batch = " << evaluate.batch << ": use 1 to 65536");
}

bool Recipe::turns_photographs() const {
  return data.exif_orientation.value_or(data.protocol == "folder" || data.protocol == "lists");
}

Recipe Recipe::with_absolute_paths() const {
  Recipe recipe = *this;
  for (std::string* path : {&recipe.data.path, &recipe.data.image_root, &recipe.data.split_file,
                            &recipe.data.cache, &recipe.train.weights}) {
    if (!path->empty()) *path = std::filesystem::absolute(*path).lexically_normal().string();
  }
  // Paths of lists start from the working directory where no image_root is given.
  if (recipe.data.image_root.empty() && data::is_of_lists(recipe.data.protocol)) {
    recipe.data.image_root = std::filesystem::current_path().string();
  }
  return recipe;
}

std::string Recipe::to_toml() const { return text_with({}); }
std::string Recipe::to_commented_toml() const { return text_with(recipe_comment); }

std::string Recipe::text_with(
    const std::function<std::string(const std::string& key)>& comment) const {
  Recipe copy = *this;
  std::string text, section;
  for (const auto& [name, key] : keys_of(copy)) {
    const std::size_t dot = name.find('.');
    if (name.substr(0, dot) != section) {
      section = name.substr(0, dot);
      text += (text.empty() ? "[" : "\n[") + section + "]\n";
    }
    if (comment) text += comment(name);
    text += name.substr(dot + 1) + " = " + key.write() + "\n";
  }
  return text;
}

data::ProtocolOptions Recipe::protocol_options() const {
  return {.data = data.path,
          .image_root = data.image_root,
          .seed = std::uint64_t(data.split_seed),
          .size = model.image_size,
          .channels = model.in_channels,
          .query_per_class = data.query_per_class,
          .train_per_class = data.train_per_class,
          .allow_other_counts = data.allow_other_counts,
          .exif_orientation = turns_photographs(),
          .max_pixels = std::int64_t(data.max_pixels * 1e6),
          .scaled_decode = data.scaled_decode,
          .list_labels = data::list_labels_named(data.list_labels)};
}

}  // namespace hh::pipeline
