// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/batch.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "apps/serve/answer.h"
#include "apps/serve/form.h"
#include "engine/text/counted.h"
#include "engine/text/json_text.h"
#include "kernels/core/check.h"
#include "retrieval/codes/codes.h"

namespace hh::apps {
namespace {

using nlohmann::json;
using NamedValues = std::multimap<std::string, std::string>;

// Metadata, the deepest that there is, may have 64 and are in an entry of a list of an object.
constexpr int kMaxDepth = 70;
constexpr std::size_t kMaxValues = 64;  // of a name

json parsed(std::string_view text) {
  if (text.size() > kMaxBatchText) {
    throw ApiError{413, "JSON of " + counted(text.size(), "byte") + "; the limit is " +
                            std::to_string(kMaxBatchText) + ": send it in several requests"};
  }
  int deepest = 0;
  json value = parse_json(text, kMaxDepth, deepest);
  HH_REQUIRE(deepest <= kMaxDepth, "the JSON is nested more than " << kMaxDepth << " deep");
  HH_REQUIRE(!value.is_discarded(), "the body is no JSON: a sign is missing or too many");
  HH_REQUIRE(value.is_object(),
             "the body must be a JSON object, or a form whose part 'request' is");
  return value;
}

std::string text_of(const std::string& name, const json& value) {
  if (value.is_string()) return value.get<std::string>();  // of metadata too: as in an address
  HH_REQUIRE(!value.is_boolean() || name == "replace", name << ": only replace is true or false");
  HH_REQUIRE(!value.is_array() || name == "metadata", name << ": only filter may be a list");
  HH_REQUIRE(value.is_object() == (name == "metadata"),
             name << (value.is_object() ? ": only metadata are an object" : ": use a JSON object"));
  if (value.is_boolean()) return value.get<bool>() ? "1" : "0";
  return json_text(value);
}

/// What JSON names, as it would come in an address. null: as if it weren't there.
NamedValues values_of(const json& object, const std::vector<std::string>& known) {
  NamedValues values;
  for (const auto& [name, value] : object.items()) check_names({{name, ""}}, known);
  for (const auto& [name, value] : object.items()) {
    if (value.is_null()) continue;
    const bool many = name == "filter" && value.is_array();
    HH_REQUIRE(!many || value.size() <= kMaxValues,
               name << ": " << value.size() << " values; the limit is " << kMaxValues);
    if (!many) values.emplace(name, text_of(name, value));
    if (!many) continue;
    for (const json& one : value) values.emplace(name, text_of(name, one));
  }
  return values;
}

std::vector<float> outputs_of(const json& value) {
  HH_REQUIRE(value.is_array() && !value.empty() && value.size() <= std::size_t(retrieval::kMaxBits),
             "outputs: use a list of as many numbers as a code has bits");
  std::vector<float> outputs;
  for (const json& number : value) {
    HH_REQUIRE(number.is_number() && std::isfinite(number.get<float>()),
               "outputs: use numbers that a float can hold");
    outputs.push_back(number.get<float>());
  }
  return outputs;
}

BatchEntry entry_of(json object, const std::vector<std::string_view>& pictures,
                    std::vector<bool>& used, const std::vector<std::string>& names) {
  HH_REQUIRE(object.is_object(), "use a JSON object");
  std::vector<float> outputs;
  if (object.contains("outputs") && !object.at("outputs").is_null()) {
    outputs = outputs_of(object.at("outputs"));
    object["outputs"] = "";  // its name is still looked at
  }
  BatchEntry entry{.values = Values(values_of(object, names), names),
                   .outputs = std::move(outputs),
                   .picture = std::nullopt};
  if (const auto image = entry.values.all("image"); !image.empty()) {
    HH_REQUIRE(!pictures.empty(), "image = " << image[0].substr(0, 40)
                                             << ": send the pictures as parts 'image' of a form");
    const auto place = std::size_t(number("image", image[0], 0, std::int64_t(pictures.size()) - 1));
    HH_REQUIRE(!used[place], "image = " << place << ": another entry has this picture already");
    entry.picture = pictures[place];
    used[place] = true;
  }
  return entry;
}

struct Sent {
  json object = json::object();
  std::vector<std::string_view> pictures;
};

Sent sent_by(const HttpRequest& request) {
  if (!is_form(request.content_type)) return {.object = parsed(request.body), .pictures = {}};
  Sent sent;
  bool found = false;
  for (const FormPart& part : parse_form(request.content_type, request.body, kMaxPictures + 1)) {
    if (part.name == "image") {
      sent.pictures.push_back(part.data);
      continue;
    }
    HH_REQUIRE(part.name == "request" && !found,
               "the form has parts 'image' and one 'request', which is JSON");
    sent.object = parsed(part.data);
    found = true;
  }
  HH_REQUIRE(sent.pictures.size() <= kMaxPictures, counted(sent.pictures.size(), "picture")
                                                       << "; the limit is " << kMaxPictures
                                                       << ": send them in several requests");
  return sent;
}

}  // namespace

std::string entry_name(const BatchNames& names, std::size_t i) {
  return names.list + "[" + std::to_string(i) + "]";
}

Batch read_batch(const HttpRequest& request, const BatchNames& names) {
  Sent sent = sent_by(request);
  json list = json::array();
  if (const auto given = sent.object.find(names.list); given != sent.object.end()) {
    list = std::move(*given);
    sent.object.erase(given);
  } else {
    for (std::size_t i = 0; i < sent.pictures.size(); ++i) list.push_back({{"image", i}});
  }
  HH_REQUIRE(list.size() <= kMaxEntries, names.list << " has " << list.size()
                                                    << " entries; the limit is " << kMaxEntries
                                                    << ": send them in several requests");
  std::vector<std::string> common = names.common;
  common.push_back(names.list);  // for who misspells it
  Batch batch{.values = Values(values_of(sent.object, common), common), .entries = {}};
  HH_REQUIRE(list.is_array() && !list.empty(), "'" << names.list << "' must be a list of objects");
  std::vector<bool> used(sent.pictures.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto failure = failure_of([&] {
      batch.entries.push_back(entry_of(std::move(list[i]), sent.pictures, used, names.entry));
    });
    if (failure) throw ApiError{failure->status, entry_name(names, i) + ": " + failure->message};
  }
  for (std::size_t i = 0; i < used.size(); ++i) {
    HH_REQUIRE(used[i], "picture " << i << " of the form belongs to none of the " << names.list
                                   << ": name it there by \"image\": " << i);
  }
  return batch;
}

}  // namespace hh::apps
