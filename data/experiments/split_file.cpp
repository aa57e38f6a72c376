// SPDX-License-Identifier: Apache-2.0
#include "data/experiments/split_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>
#include <stdexcept>
#include <unordered_map>
#include <utility>

#include "engine/files/file.h"
#include "engine/files/file_kind.h"
#include "engine/files/sha256.h"
#include "engine/text/counted.h"
#include "engine/text/json_error.h"
#include "engine/text/json_text.h"
#include "engine/text/utf8.h"
#include "kernels/core/check.h"

namespace hh::data {
namespace {

constexpr const char* kFormat1 = "hybridhash split 1";
constexpr const char* kFormat2 = "hybridhash split 2";
constexpr std::size_t kMaxBytes = std::size_t{4} << 30;

std::string hash_of_labels(const Dataset& dataset) {
  Sha256 hash;
  hash.update(std::to_string(dataset.classes()) + "\n");
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    hash.update(std::as_bytes(dataset.labels().of(i)));
  }
  return hash.hex();
}

/// As JSON can hold them: names are bytes.
std::vector<std::string> names_of(const Dataset& dataset) {
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    names.push_back(as_utf8(dataset.name(i)));
  }
  return names;
}

/// Empty when no image has a file of its own.
std::vector<std::int64_t> sizes_of(const Dataset& dataset) {
  std::vector<std::int64_t> sizes;
  bool known = false;
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    sizes.push_back(dataset.file_bytes(i));
    known = known || sizes.back() >= 0;
  }
  return known ? sizes : std::vector<std::int64_t>{};
}

/// Positions by name; an image that is listed several times has several, in order.
std::unordered_map<std::string, std::vector<std::int64_t>> positions_of(
    const std::vector<std::string>& names) {
  std::unordered_map<std::string, std::vector<std::int64_t>> positions;
  for (std::size_t i = 0; i < names.size(); ++i) positions[names[i]].push_back(std::int64_t(i));
  return positions;
}

/// For each of `names` where it is in `there`, -1 if it isn't; and how many times of `there` were
/// not asked for, by example.
struct Places {
  std::vector<std::int64_t> place;
  std::vector<std::string> gone, extra;

  Places(const std::vector<std::string>& names, const std::vector<std::string>& there) {
    auto positions = positions_of(there);
    std::unordered_map<std::string, std::size_t> used;
    for (const std::string& name : names) {
      const auto found = positions.find(name);
      std::size_t& next = used[name];
      if (found == positions.end() || next >= found->second.size()) {
        place.push_back(-1);
        gone.push_back(name);
      } else {
        place.push_back(found->second[next++]);
      }
    }
    for (const std::string& name : there) {
      std::size_t& left = used[name];
      left > 0 ? void(--left) : extra.push_back(name);
    }
  }
};

std::string examples(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 3;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    text += (i > 0 ? ", " : "") + names[i];
  }
  return text + (names.size() > kShown ? ", ..." : "");
}

std::string counted_examples(const std::vector<std::string>& names) {
  return counted(names.size(), "image") + " (" + examples(names) + ")";
}

/// Images of a part whose files have another size than they had lose their place; returns them in
/// words. One that isn't there any more has none to compare.
std::vector<std::string> drop_other_files(const SavedSplit& saved, const Dataset& dataset,
                                          std::vector<std::int64_t>& place) {
  std::vector<std::string> changed;
  if (saved.sizes.empty()) return changed;
  std::vector<bool> used(std::size_t(saved.items), false);
  for (const auto* part : {&saved.split.query, &saved.split.train, &saved.split.database}) {
    for (const std::int64_t item : *part) used[std::size_t(item)] = true;
  }
  for (std::size_t i = 0; i < place.size(); ++i) {
    if (!used[i] || place[i] < 0 || saved.sizes[i] < 0) continue;
    const std::int64_t now = dataset.file_bytes(place[i]);
    if (now < 0 || now == saved.sizes[i]) continue;
    changed.push_back(saved.names[i] + " (was " + counted(saved.sizes[i], "byte") + ", is " +
                      std::to_string(now) + ")");
    place[i] = -1;
  }
  return changed;
}

std::vector<std::int64_t> placed(const std::vector<std::int64_t>& part,
                                 const std::vector<std::int64_t>& place) {
  std::vector<std::int64_t> found;
  for (const std::int64_t item : part) {
    if (place[std::size_t(item)] >= 0) found.push_back(place[std::size_t(item)]);
  }
  return found;
}

std::vector<std::int64_t> rows_kept(const SavedSplit& saved,
                                    const std::vector<std::int64_t>& place) {
  std::vector<bool> held(std::size_t(saved.items), false);
  for (const std::int64_t item : saved.held_out) held[std::size_t(item)] = true;
  std::vector<std::int64_t> rows;
  std::int64_t row = 0;
  for (const std::int64_t item : saved.split.train) {
    if (held[std::size_t(item)]) continue;
    if (place[std::size_t(item)] >= 0) rows.push_back(row);
    ++row;
  }
  return rows;
}

FittedSplit fit_positions(const SavedSplit& saved, const Dataset& dataset,
                          const std::string& where) {
  if (saved.items != dataset.size()) {
    throw std::runtime_error(where + ": it is of " + counted(saved.items, "image") +
                             ", and the data set has " + std::to_string(dataset.size()) +
                             ". It holds positions alone, so what changed can't be told: put the "
                             "images back as they were, or start a new run");
  }
  FittedSplit fitted{.split = saved.split, .held_out = {}, .train_rows = {}, .notes = {}};
  fitted.notes.push_back(where +
                         ": it is of an older version and holds positions alone: that the images "
                         "are still the same ones can't be checked");
  return fitted;
}

template <class T>
std::vector<T> list_of(const nlohmann::json& json, const char* name) {
  if (!json.at(name).is_array()) throw std::runtime_error(std::string(name) + " is no array");
  std::vector<T> values;
  for (const auto& v : json.at(name)) {
    // Each element is checked: the library would turn 1.5 and true into integers.
    const bool right = std::is_same_v<T, std::string> ? v.is_string() : v.is_number_integer();
    if (!right) throw std::runtime_error(std::string(name) + " holds " + json_text(v));
    values.push_back(v.get<T>());
  }
  return values;
}

void check_held_out(const SavedSplit& saved) {
  std::vector<bool> train(std::size_t(saved.items), false);
  for (const std::int64_t item : saved.split.train) train[std::size_t(item)] = true;
  for (const std::int64_t item : saved.held_out) {
    if (item < 0 || item >= saved.items || !train[std::size_t(item)]) {
      throw std::runtime_error("held_out holds item " + std::to_string(item) +
                               ", which is not in train or there twice");
    }
    train[std::size_t(item)] = false;
  }
}

}  // namespace

void write_split(const std::filesystem::path& path, const Split& split,
                 const std::vector<std::int64_t>& held_out, const Dataset& dataset,
                 std::string_view protocol, std::uint64_t seed) {
  check_split(split, dataset.size());
  nlohmann::ordered_json json = {{"format", kFormat2},
                                 {"protocol", protocol},
                                 {"seed", seed},
                                 {"items", dataset.size()},
                                 {"labels", hash_of_labels(dataset)},
                                 {"class_names", dataset.class_names()},
                                 {"query", split.query},
                                 {"train", split.train},
                                 {"held_out", held_out},
                                 {"database", split.database},
                                 {"names", names_of(dataset)}};
  if (auto sizes = sizes_of(dataset); !sizes.empty()) json["sizes"] = std::move(sizes);
  write_file_atomically(path, json_text(json) + "\n");
}

SavedSplit parse_split(std::string_view text) {
  try {
    const auto json = parse_json(text);
    SavedSplit saved;
    if (json.is_object() && !json.contains("format")) throw std::runtime_error("it has no format");
    const auto& format = json.at("format");
    if (format != kFormat1 && format != kFormat2) {
      throw std::runtime_error("its format is " + json_text(format));
    }
    saved.format = format == kFormat1 ? 1 : 2;
    saved.protocol = json.at("protocol").get<std::string>();
    if (!json.at("items").is_number_integer()) throw std::runtime_error("items is no number");
    saved.items = json.at("items").get<std::int64_t>();
    saved.split = {.query = list_of<std::int64_t>(json, "query"),
                   .train = list_of<std::int64_t>(json, "train"),
                   .database = list_of<std::int64_t>(json, "database")};
    if (saved.format == 2) {
      saved.held_out = list_of<std::int64_t>(json, "held_out");
      saved.names = list_of<std::string>(json, "names");
      saved.class_names = list_of<std::string>(json, "class_names");
      saved.labels = json.at("labels").get<std::string>();
      if (std::int64_t(saved.names.size()) != saved.items) {
        throw std::runtime_error("it names " + counted(saved.names.size(), "image") + ", not " +
                                 std::to_string(saved.items));
      }
      if (json.contains("sizes")) saved.sizes = list_of<std::int64_t>(json, "sizes");
      if (!saved.sizes.empty() && saved.sizes.size() != saved.names.size()) {
        throw std::runtime_error("it has " + counted(saved.sizes.size(), "size") + " for " +
                                 counted(saved.names.size(), "image"));
      }
    }
    // Without names nothing bounds what `items` says, and a byte is allocated for each.
    constexpr std::int64_t kMaxItems = std::int64_t{1} << 26;
    if (saved.items < 0 || saved.items > kMaxItems) {
      throw std::runtime_error("items is " + std::to_string(saved.items));
    }
    check_split(saved.split, saved.items);
    check_held_out(saved);
    return saved;
  } catch (const nlohmann::json::exception& e) {
    throw std::runtime_error(json_error_text(e));
  } catch (const std::invalid_argument& e) {  // check_split's
    throw std::runtime_error(e.what());
  }
}

SavedSplit read_split(const std::filesystem::path& path) {
  const auto bytes = read_file(path, kMaxBytes);
  try {
    return parse_split({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  } catch (const std::runtime_error& e) {
    const std::string kind = kind_of_file(std::as_bytes(std::span(bytes))).name;
    throw std::runtime_error(path.string() + ": " +
                             (kind.empty() ? std::string(e.what()) : "it is " + kind) +
                             "; a split is the split.json of a training run's folder, which says "
                             "the images that are queries, training and database: give one, or "
                             "restore it");
  }
}

FittedSplit fit_split(const SavedSplit& saved, const Dataset& dataset, std::string_view protocol,
                      bool allow_changed, const std::string& where) {
  if (saved.protocol != protocol) {
    throw std::runtime_error(where + ": it is of protocol \"" + saved.protocol + "\"; wanted: \"" +
                             std::string(protocol) +
                             "\": give the split of a run with this protocol");
  }
  if (saved.format == 1) return fit_positions(saved, dataset, where);
  if (saved.class_names != dataset.class_names()) {
    const Places classes(saved.class_names, dataset.class_names());
    throw std::runtime_error(
        where + ": the classes are other ones: " + std::to_string(classes.gone.size()) + " gone, " +
        std::to_string(classes.extra.size()) + " new" +
        (classes.gone.empty() && classes.extra.empty() ? ", in another order" : "") +
        (classes.gone.empty() ? "" : "; gone: " + classes.gone.front()) +
        (classes.extra.empty() ? "" : "; new: " + classes.extra.front()) +
        ". Put them back, or start a new run");
  }
  Places places(saved.names, names_of(dataset));
  std::string changed;
  if (!places.gone.empty()) changed += counted_examples(places.gone) + " gone";
  if (!places.extra.empty()) {
    changed += (changed.empty() ? "" : ", ") + counted_examples(places.extra) + " new";
  }
  if (const auto files = drop_other_files(saved, dataset, places.place); !files.empty()) {
    changed += (changed.empty() ? "" : ", ") +
               counted(files.size(), "image isn't the file that it was",
                       "images aren't the files that they were") +
               ": " + examples(files);
  }
  if (changed.empty() && places.place.size() == std::size_t(dataset.size()) &&
      std::is_sorted(places.place.begin(), places.place.end()) &&
      saved.labels != hash_of_labels(dataset)) {
    changed = "the labels of some images are other ones";
  }
  FittedSplit fitted;
  if (!changed.empty()) {
    if (!allow_changed) {
      throw std::runtime_error(where + ": the data set isn't what it was: " + changed +
                               ". Put it back, or go on with what is still there "
                               "(--allow-changed-data)");
    }
    fitted.notes.push_back(where + ": going on with what is still there: " + changed);
  }
  fitted.split = {.query = placed(saved.split.query, places.place),
                  .train = placed(saved.split.train, places.place),
                  .database = placed(saved.split.database, places.place)};
  fitted.held_out = placed(saved.held_out, places.place);
  fitted.train_rows = rows_kept(saved, places.place);
  if (fitted.split.train.empty() && !saved.split.train.empty()) {
    throw std::runtime_error(where + ": of its training images none is left: " + changed +
                             ". Put them back, or start a new run");
  }
  return fitted;
}

}  // namespace hh::data
