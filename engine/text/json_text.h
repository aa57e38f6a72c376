// SPDX-License-Identifier: Apache-2.0
// JSON in and out. Parser and writer of the JSON library are compiled in json_text.cpp alone: in every file that calls
// them they would cost two seconds each.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace hh {

/// The text's value. Throws nlohmann::json::exception (json_error_text() says it in words) where it is no JSON.
nlohmann::json parse_json(std::string_view text);
/// The same, objects' keys in the text's order.
nlohmann::ordered_json parse_ordered_json(std::string_view text);
/// The same, discarded where it is no JSON.
nlohmann::json parse_json_if_any(std::string_view text);
/// The same, discarded where it is no JSON. `deepest`: how deep it is nested; what is deeper than
/// `most` is left out, and then it is more than that.
nlohmann::json parse_json(std::string_view text, int most, int& deepest);

/// Escapes what isn't UTF-8 (engine/text/utf8.h) in all strings and keys, which the library
/// refuses to write.
nlohmann::json valid_json(const nlohmann::json& value);

/// JSON in one line, or with lines indented by so many blanks. Never throws for what strings hold.
std::string json_text(const nlohmann::json& value, int indent = -1);
std::string json_text(const nlohmann::ordered_json& value, int indent = -1);

}  // namespace hh
