// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "engine/text/utf8.h"

namespace hh {

/// Escapes what isn't UTF-8 (engine/text/utf8.h) in all strings and keys, which the library
/// refuses to write.
template <class Json>
Json valid_json(const Json& value) {
  if (value.is_string()) return repaired_utf8(value.template get_ref<const std::string&>());
  if (!value.is_structured()) return value;
  Json valid = value.is_array() ? Json::array() : Json::object();
  for (const auto& [key, element] : value.items()) {
    if (value.is_array()) {
      valid.push_back(valid_json(element));
    } else {
      valid[repaired_utf8(key)] = valid_json(element);
    }
  }
  return valid;
}

/// The text's value, discarded where it is no JSON. `deepest`: how deep it is nested; what is deeper
/// than `most` is left out, and then it is more than that.
inline nlohmann::json parse_json(std::string_view text, int most, int& deepest) {
  deepest = 0;
  const auto keep = [&](int depth, nlohmann::json::parse_event_t, const nlohmann::json&) {
    deepest = std::max(deepest, depth);
    return depth <= most;
  };
  return nlohmann::json::parse(text, keep, /*allow_exceptions=*/false);
}

/// JSON in one line, or with lines indented by so many blanks. Never throws for what strings hold.
template <class Json>
std::string json_text(const Json& value, int indent = -1) {
  return valid_json(value).dump(indent);
}

}  // namespace hh
