// SPDX-License-Identifier: Apache-2.0
#include "retrieval/engines/collection_about.h"

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "engine/files/xxh64.h"
#include "engine/text/json_error.h"
#include "engine/text/json_text.h"
#include "retrieval/codes/class_names.h"
#include "retrieval/codes/code_file.h"
#include "retrieval/codes/code_origin_json.h"
#include "retrieval/engines/collection.h"

namespace hh::retrieval {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "hybridhash collection";

[[noreturn]] void fail(const std::string& name, const std::string& what) {
  throw std::runtime_error(name + ": not a usable collection: " + what +
                           "; use another name, or push the index anew with --overwrite");
}

std::int64_t number(const json& from, const char* key, std::int64_t least, std::int64_t most,
                    const std::string& name) {
  const json& value = from.at(key);
  const bool fits = value.is_number_integer() &&
                    (!value.is_number_unsigned() || value <= std::uint64_t(INT64_MAX)) &&
                    value >= least && value <= most;
  if (!fits) fail(name, std::string(key) + " = " + json_text(value) + " can't be");
  return value.get<std::int64_t>();
}

std::uint64_t check_sum(const json& from, const char* key, const std::string& name) {
  const std::string text = from.at(key).get<std::string>();
  const auto sum = parse_xxh64(text);
  if (!sum) fail(name, "'" + text + "' isn't a check sum");
  return *sum;
}

CollectionAbout from_json(const json& j, const std::string& name) {
  CollectionAbout about;
  about.bits = int(number(j, "bits", kMinBits, kMaxBits, name));
  static_cast<CodeOrigin&>(about) =
      code_origin(j, [&](const char* key, std::int64_t least, std::int64_t most) {
        return number(j, key, least, most, name);
      });
  about.classes = int(number(j, "classes", 0, kMaxClasses, name));
  about.class_names = j.at("class_names").get<std::vector<std::string>>();
  if (!about.class_names.empty() && about.class_names.size() != std::size_t(about.classes)) {
    fail(name, std::to_string(about.classes) + " classes, but " +
                   std::to_string(about.class_names.size()) + " class names");
  }
  about.next_id = number(j, "next_id", 0, INT64_MAX, name);
  const json& push = j.at("push");
  about.push = {.source = check_sum(push, "source", name),
                .generation = number(push, "generation", -1, INT64_MAX, name),
                .rows = number(push, "rows", 0, INT64_MAX, name),
                .sum = check_sum(push, "sum", name),
                .manifest = check_sum(push, "manifest", name),
                .strangers = push.at("strangers").get<bool>()};
  return about;
}

std::uint64_t sum_of(std::initializer_list<std::uint64_t> words) {
  return xxh64(std::as_bytes(std::span(words.begin(), words.size())));
}

}  // namespace

CollectionAbout CollectionAbout::of(const IndexManifest& manifest) {
  CollectionAbout about;
  about.bits = manifest.bits;
  static_cast<CodeOrigin&>(about) = manifest;
  about.classes = manifest.classes;
  about.class_names = manifest.class_names;
  about.next_id = manifest.next_id;
  return about;
}

CodeSet CollectionAbout::code_set() const {
  CodeSet set;
  set.codes = PackedCodes(0, bits);
  set.classes = classes;
  set.class_names = class_names;
  static_cast<CodeOrigin&>(set) = *this;
  return set;
}

std::string CollectionAbout::to_json() const {
  json j{{"format", kFormat},
         {"version", kCollectionFormat},
         {"bits", bits},
         {"classes", classes},
         {"class_names", class_names},
         {"next_id", next_id},
         // Text: JSON numbers of other programs may be rounded to doubles.
         {"push",
          {{"source", xxh64_text(push.source)},
           {"generation", push.generation},
           {"rows", push.rows},
           {"sum", xxh64_text(push.sum)},
           {"manifest", xxh64_text(push.manifest)},
           {"strangers", push.strangers}}}};
  put_code_origin(*this, j);
  return json_text(j);
}

CollectionAbout CollectionAbout::parse(const std::string& text, const std::string& name) {
  try {
    const json j = parse_json(text);
    if (!j.is_object() || j.value("format", "") != kFormat) fail(name, "it isn't one of ours");
    if (const auto version = number(j, "version", 1, INT64_MAX, name);
        version > kCollectionFormat) {
      fail(name, "it is of version " + std::to_string(version) + ", and this program knows " +
                     std::to_string(kCollectionFormat) + ": use a newer program");
    }
    return from_json(j, name);
  } catch (const json::exception& error) {
    fail(name, json_error_text(error));
  }
}

void CollectionAbout::check_belongs(int width, const std::string& of_model, Int8Codes int8) const {
  check_codes_meet({width, of_model}, {bits, model_hash}, "index", int8);
}

std::string CollectionAbout::class_name(int c) const { return class_text(c, class_names); }

int CollectionAbout::class_of(const std::string& name) const {
  return class_named(name, classes, class_names);
}

std::vector<CollectionFilter> CollectionAbout::filters(
    const std::vector<std::string>& texts) const {
  std::vector<CollectionFilter> filters;
  for (const std::string& text : texts) {
    CollectionFilter made{.filter = IndexFilter::parse(text), .classes = {}};
    for (const std::string& label : made.filter.labels) made.classes.push_back(class_of(label));
    filters.push_back(std::move(made));
  }
  return filters;
}

std::uint64_t push_source(const IndexManifest& manifest) {
  if (manifest.segments.empty()) return 0;
  if (manifest.identity != 0) {
    return sum_of({manifest.identity, std::uint64_t(manifest.base)}) | 1;
  }
  // Of an older program: good until segments are joined.
  const IndexSegment& first = manifest.segments.front();
  return sum_of({std::uint64_t(manifest.base), std::uint64_t(first.rows), first.codes, first.ids}) |
         1;
}

std::uint64_t manifest_sum(const IndexManifest& manifest) {
  const std::string text = to_text(manifest);
  return xxh64(std::as_bytes(std::span(text))) | 1;
}

void RowSum::extend(const Index& index, std::int64_t rows) {
  const CodesView codes = index.codes().slice(rows_, rows);
  codes_.update(std::as_bytes(
      std::span(codes.words, std::size_t(codes.count) * std::size_t(codes.row_words()))));
  ids_.update(std::as_bytes(index.ids().subspan(std::size_t(rows_), std::size_t(rows - rows_))));
  rows_ = rows;
}

std::uint64_t RowSum::value() const { return sum_of({codes_.value(), ids_.value()}); }

}  // namespace hh::retrieval
