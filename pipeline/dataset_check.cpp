// SPDX-License-Identifier: Apache-2.0
#include "pipeline/dataset_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <unordered_set>

#include "data/cache/cached_dataset.h"
#include "engine/files/file.h"
#include "engine/files/sha256.h"
#include "engine/text/counted.h"
#include "engine/text/utf8.h"
#include "kernels/core/check.h"
#include "kernels/core/parallel.h"

namespace hh::pipeline {
namespace {

using data::Dataset, data::FileDataset;

constexpr const char* kContentNames[] = {"none", "bytes", "decoded", "pixels"};
constexpr std::size_t kExamples = 5;
constexpr std::size_t kMaxFileBytes = std::size_t{1} << 30;

void note(Finding& finding, const Dataset& dataset, std::int64_t item) {
  ++finding.count;
  if (finding.examples.size() < kExamples) finding.examples.push_back(dataset.location(item));
}

/// One spelling for "./a.jpg" and "a.jpg".
std::string path_of(const Dataset& dataset, std::int64_t item) {
  const auto* files = dynamic_cast<const FileDataset*>(&dataset);
  return files == nullptr ? dataset.name(item) : files->file(item).lexically_normal().string();
}

std::string hash_of_pixels(const Dataset& dataset, std::int64_t item) {
  const data::Image image = dataset.load(item);
  Sha256 hash;
  // The size goes along: 2 x 8 pixels aren't 4 x 4.
  hash.update(fmt::format("{} {} {}\n", image.height, image.width, image.channels));
  hash.update(std::as_bytes(std::span(image.pixels)));
  return hash.hex();
}

std::string hash_of(const Dataset& dataset, std::int64_t item, Content content) {
  const auto* files = dynamic_cast<const FileDataset*>(&dataset);
  if (content == Content::kPixels || files == nullptr) return hash_of_pixels(dataset, item);
  const auto bytes = read_file(files->file(item), kMaxFileBytes);
  Sha256 hash;
  hash.update(std::as_bytes(std::span(bytes)));
  return hash.hex();
}

/// What equal images have in common, by item. Empty: nothing is known of it.
struct Keys {
  std::vector<std::string> path, content;
};

/// Also fills `errors`, of images that can't be read. Items of no part are passed over.
Keys keys_of(const data::Experiment& e, Content content, const Listener& listener,
             std::vector<std::string>& errors) {
  const Dataset& dataset = *e.dataset;
  const auto n = std::size_t(dataset.size());
  Keys keys{std::vector<std::string>(n), std::vector<std::string>(n)};
  std::vector<char> used(n);
  for (const auto* part : {&e.split.query, &e.split.train, &e.split.database}) {
    for (const std::int64_t i : *part) used[std::size_t(i)] = 1;
  }
  const bool in_memory = dynamic_cast<const FileDataset*>(&dataset) == nullptr;
  const auto look = [&](std::int64_t i) {
    const auto at = std::size_t(i);
    if (!used[at]) return;
    keys.path[at] = path_of(dataset, i);
    if (content == Content::kNone || !dataset.available(i)) return;
    try {
      keys.content[at] = hash_of(dataset, i, content);
      if (content == Content::kDecoded && !in_memory) dataset.load(i);
    } catch (const std::runtime_error& error) {  // ImageError, and what read_file throws
      errors[at] = error.what();
    }
  };
  Progress progress(listener, "images", dataset.size());
  constexpr std::int64_t kBetweenReports = 256;
  for (std::int64_t from = 0; from < dataset.size(); from += kBetweenReports) {
    const std::int64_t count = std::min(kBetweenReports, dataset.size() - from);
    cpu::parallel_for(count, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) look(from + i);
    });
    progress.update(from + count);
  }
  return keys;
}

void warn_of(const std::vector<std::string>& errors, const Listener& listener) {
  constexpr std::int64_t kMost = 20;
  std::int64_t count = 0;
  for (const std::string& error : errors) {
    if (!error.empty() && ++count <= kMost) listener.warn("unreadable: " + error);
  }
  if (count > kMost) listener.warn(fmt::format("and {} more are unreadable", count - kMost));
}

/// Rows that an earlier one equals.
Finding repeated(const Dataset& dataset, const std::vector<std::int64_t>& items,
                 const std::vector<std::string>& keys) {
  Finding finding;
  std::unordered_set<std::string_view> seen;
  for (const std::int64_t i : items) {
    const std::string& key = keys[std::size_t(i)];
    if (!key.empty() && !seen.insert(key).second) note(finding, dataset, i);
  }
  return finding;
}

Finding shared(const Dataset& dataset, const std::vector<std::int64_t>& first,
               const std::vector<std::int64_t>& second, const std::vector<std::string>& keys) {
  std::unordered_set<std::string_view> there;
  for (const std::int64_t i : second) there.insert(keys[std::size_t(i)]);
  there.erase("");
  Finding finding;
  for (const std::int64_t i : first) {
    if (there.contains(keys[std::size_t(i)])) note(finding, dataset, i);
  }
  return finding;
}

std::string images(std::int64_t count, const char* what = "") {
  return fmt::format("{} {}image{}", count, what, count == 1 ? "" : "s");
}

void add_problem(std::vector<std::string>& problems, const Finding& finding,
                 const std::string& what) {
  if (finding.count == 0) return;
  problems.push_back(
      fmt::format("{} {} (first: {})", images(finding.count), what, finding.examples.front()));
}

std::string number(std::int64_t count, Content content) {
  return content == Content::kNone ? "-" : std::to_string(count);
}

nlohmann::ordered_json json_of(const Finding& finding) {
  return {{"count", finding.count}, {"examples", finding.examples}};
}

nlohmann::ordered_json json_of(const PartCheck& part) {
  nlohmann::ordered_json json{{"name", part.name}, {"items", part.items}};
  if (part.expected >= 0) json["expected"] = part.expected;
  json["unlabelled"] = json_of(part.unlabelled);
  json["missing"] = json_of(part.missing);
  json["unreadable"] = json_of(part.unreadable);
  json["repeated_path"] = json_of(part.path_again);
  json["repeated_content"] = json_of(part.content_again);
  return json;
}

}  // namespace

const char* to_string(Content content) { return kContentNames[std::size_t(content)]; }

Content content_named(const std::string& name) {
  const auto* found = std::find(std::begin(kContentNames), std::end(kContentNames), name);
  HH_REQUIRE(found != std::end(kContentNames),
             "content '" << name << "': use decoded, bytes, pixels or none");
  return Content(found - std::begin(kContentNames));
}

DatasetCheck check_dataset(const data::Experiment& e, Content content, const Listener& listener) {
  const Dataset& dataset = *e.dataset;
  std::vector<std::string> errors(std::size_t(dataset.size()));
  const Keys keys = keys_of(e, content, listener, errors);
  warn_of(errors, listener);
  DatasetCheck check{.protocol = e.protocol.name,
                     .content = content,
                     .classes = dataset.classes(),
                     .expected_classes = e.protocol.classes,
                     .notes = e.dataset->notes()};
  const std::array items{&e.split.query, &e.split.train, &e.split.database};
  const std::array names{"query", "train", "database"};
  const std::array expected{e.protocol.query, e.protocol.train, e.protocol.database};
  for (std::size_t p = 0; p < items.size(); ++p) {
    PartCheck& part = check.parts[p];
    part = {.name = names[p], .items = std::int64_t(items[p]->size()), .expected = expected[p]};
    for (const std::int64_t i : *items[p]) {
      if (dataset.labels().count(i) == 0) note(part.unlabelled, dataset, i);
      if (!dataset.available(i)) note(part.missing, dataset, i);
      if (!errors[std::size_t(i)].empty()) note(part.unreadable, dataset, i);
    }
    part.path_again = repeated(dataset, *items[p], keys.path);
    part.content_again = repeated(dataset, *items[p], keys.content);
  }
  constexpr std::array<std::array<std::size_t, 2>, 3> kPairs{{{0, 1}, {0, 2}, {1, 2}}};
  for (std::size_t i = 0; i < kPairs.size(); ++i) {
    const auto [a, b] = kPairs[i];
    check.overlaps[i] = {.first = names[a],
                         .second = names[b],
                         .wrong = a == 0,
                         .path = shared(dataset, *items[a], *items[b], keys.path),
                         .content = shared(dataset, *items[a], *items[b], keys.content)};
  }
  return check;
}

void check_cache(DatasetCheck& check, const data::Experiment& e, const Recipe& recipe) {
  const auto* files = dynamic_cast<const FileDataset*>(e.dataset.get());
  if (recipe.data.cache.empty() || files == nullptr) return;
  std::vector<std::int64_t> items;
  for (const auto* part : {&e.split.query, &e.split.train, &e.split.database}) {
    items.insert(items.end(), part->begin(), part->end());
  }
  const data::CacheCheck found = data::check_cache(
      *files, items, {.folder = recipe.data.cache, .transform = e.train_transform});
  check.notes.push_back(
      !found.damage.empty()
          ? fmt::format("cache: {}; training makes it anew", found.damage)
          : fmt::format("cache: {}: {}, {:.1f} MB; {} changed since", found.file.string(),
                        data::held_text(found.held, found.wanted, found.first_without),
                        double(found.bytes) / 1e6, found.changed));
  for (const std::int64_t item : found.stale) note(check.stale, *e.dataset, item);
}

std::vector<std::string> DatasetCheck::problems() const {
  std::vector<std::string> problems;
  if (expected_classes >= 0 && classes != expected_classes) {
    problems.push_back(fmt::format("{}; the protocol has {}", counted(classes, "class", "classes"),
                                   expected_classes));
  }
  for (const PartCheck& part : parts) {
    if (part.expected >= 0 && part.items != part.expected) {
      problems.push_back(fmt::format("{}; the protocol has {}",
                                     images(part.items, (part.name + " ").c_str()), part.expected));
    }
    add_problem(problems, part.missing, "of " + part.name + " missing");
    add_problem(problems, part.unreadable, "of " + part.name + " unreadable");
    add_problem(problems, part.unlabelled, "of " + part.name + " without any label");
    add_problem(problems, part.path_again, "of " + part.name + " listed before, by path");
    add_problem(problems, part.content_again, "of " + part.name + " there before, by content");
  }
  add_problem(problems, stale,
              "in the cache as before a change that kept size and times: remove the cache");
  for (const OverlapCheck& o : overlaps) {
    if (!o.wrong) continue;
    add_problem(problems, o.path, "of " + o.first + " also in " + o.second + ", by path");
    add_problem(problems, o.content, "of " + o.first + " also in " + o.second + ", by content");
  }
  return problems;
}

std::string to_text(const DatasetCheck& check) {
  const auto wanted = [](std::int64_t n) { return n < 0 ? std::string("any") : std::to_string(n); };
  std::string text = fmt::format("protocol {}, {} (protocol: {}), content by {}\n", check.protocol,
                                 counted(check.classes, "class", "classes"),
                                 wanted(check.expected_classes), to_string(check.content));
  constexpr const char* kPart = "{:<16} {:>8} {:>8} {:>8} {:>10} {:>10} {:>12} {:>15}\n";
  text += fmt::format(fmt::runtime(kPart), "part", "images", "protocol", "missing", "unreadable",
                      "unlabelled", "same path", "same content");
  for (const PartCheck& p : check.parts) {
    text += fmt::format(fmt::runtime(kPart), p.name, p.items, wanted(p.expected), p.missing.count,
                        number(p.unreadable.count, check.content), p.unlabelled.count,
                        p.path_again.count, number(p.content_again.count, check.content));
  }
  constexpr const char* kPair = "{:<16} {:>8} {:>11}\n";
  text += fmt::format(fmt::runtime(kPair), "in both", "by path", "by content");
  for (const OverlapCheck& o : check.overlaps) {
    text += fmt::format(fmt::runtime(kPair), o.first + ", " + o.second, o.path.count,
                        number(o.content.count, check.content));
  }
  for (const std::string& note : check.notes) text += "note: " + one_line(note) + "\n";
  const auto problems = check.problems();
  for (const std::string& problem : problems) text += "wrong: " + one_line(problem) + "\n";
  if (problems.empty()) text += "nothing is wrong\n";
  return text;
}

nlohmann::ordered_json to_json(const DatasetCheck& check) {
  nlohmann::ordered_json json{{"protocol", check.protocol},
                              {"content", to_string(check.content)},
                              {"classes", check.classes}};
  if (check.expected_classes >= 0) json["expected_classes"] = check.expected_classes;
  for (const PartCheck& part : check.parts) json["parts"].push_back(json_of(part));
  for (const OverlapCheck& o : check.overlaps) {
    json["overlaps"].push_back({{"first", o.first},
                                {"second", o.second},
                                {"wrong", o.wrong},
                                {"path", json_of(o.path)},
                                {"content", json_of(o.content)}});
  }
  if (check.stale.count > 0) json["stale_in_cache"] = json_of(check.stale);
  json["notes"] = check.notes;
  const auto problems = check.problems();
  json["problems"] = problems;
  json["ok"] = problems.empty();
  return json;
}

}  // namespace hh::pipeline
