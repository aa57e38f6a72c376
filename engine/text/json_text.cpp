// SPDX-License-Identifier: Apache-2.0
#include "engine/text/json_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/text/utf8.h"

namespace hh {
namespace {

template <class Json>
Json valid(const Json& value) {
  if (value.is_string()) return repaired_utf8(value.template get_ref<const std::string&>());
  if (!value.is_structured()) return value;
  Json copy = value.is_array() ? Json::array() : Json::object();
  for (const auto& [key, element] : value.items()) {
    if (value.is_array()) {
      copy.push_back(valid(element));
    } else {
      copy[repaired_utf8(key)] = valid(element);
    }
  }
  return copy;
}

}  // namespace

nlohmann::json parse_json(std::string_view text) { return nlohmann::json::parse(text); }

nlohmann::ordered_json parse_ordered_json(std::string_view text) {
  return nlohmann::ordered_json::parse(text);
}

nlohmann::json parse_json_if_any(std::string_view text) {
  return nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
}

nlohmann::json parse_json(std::string_view text, int most, int& deepest) {
  deepest = 0;
  const auto keep = [&](int depth, nlohmann::json::parse_event_t, const nlohmann::json&) {
    deepest = std::max(deepest, depth);
    return depth <= most;
  };
  return nlohmann::json::parse(text, keep, /*allow_exceptions=*/false);
}

nlohmann::json valid_json(const nlohmann::json& value) { return valid(value); }

std::string json_text(const nlohmann::json& value, int indent) { return valid(value).dump(indent); }

std::string json_text(const nlohmann::ordered_json& value, int indent) {
  return valid(value).dump(indent);
}

}  // namespace hh
