// SPDX-License-Identifier: Apache-2.0
#include "retrieval/engines/postgres/filter_sql.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/text/utf8.h"
#include "retrieval/engines/postgres/glob_sql.h"

namespace hh::retrieval::postgres {
namespace {

bool is_text(std::string_view value) {
  return is_utf8(value) && value.find('\0') == std::string_view::npos;
}

std::string path_condition(const IndexFilter& filter, Parameters& parameters) {
  const std::string value = bytes_of_utf8(filter.value);
  if (filter.op != "~") {
    // No path at all is NULL.
    if (value.empty()) return "false";
    if (is_text(value)) return "path = " + parameters.text(value);
    return "path_bytes = decode(" + parameters.text(hex_of(value)) + ", 'hex')";
  }
  std::string found = "false";
  if (is_text(value)) {
    if (const auto like = like_of_glob(value)) {
      found = "path COLLATE \"C\" LIKE " + parameters.text(*like);
    } else if (const auto regex = regex_of_glob(value)) {
      found = "path COLLATE \"C\" ~ " + parameters.text(*regex);
    }
  }
  if (const auto regex = hex_regex_of_glob(value)) {
    found += " OR (path_bytes IS NOT NULL AND encode(path_bytes, 'hex') ~ " +
             parameters.text(*regex) + ")";
  }
  return found;
}

/// PostgreSQL refuses a whole object in which some text has a zero character, where SQLite's text ends: so what
/// follows it in its string is cut off. The backslash of such an escape isn't itself escaped.
constexpr const char* kMetadata =
    R"((CASE WHEN strpos(metadata, '\u0000') > 0 )"
    R"(THEN regexp_replace(metadata, '((?:^|[^\\])(?:\\\\)*)\\u0000(?:[^"\\]|\\.)*', '\1', 'g') )"
    R"(ELSE metadata END)::json)";

/// The member a.b of the metadata, as JSON; NULL where there is none. Evaluated once a row.
std::string member(const std::string& field, Parameters& parameters) {
  std::string found = kMetadata;
  for (std::size_t at = 0; at <= field.size();) {
    const std::size_t dot = std::min(field.find('.', at), field.size());
    found += " -> " + parameters.text(field.substr(at, dot - at));
    at = dot + 1;
  }
  return "(SELECT " + found + " AS v OFFSET 0) AS member";
}

/// The double as it is, to its last digit.
std::string digits(double value) {
  char text[1500];
  std::snprintf(text, sizeof text, "%.1080f", value);
  std::string digits = text;
  digits.erase(digits.find_last_not_of('0') + 1);
  if (digits.ends_with('.')) digits.pop_back();
  return digits;
}

/// Whole numbers are compared as such, all others as doubles.
std::string number_condition(const std::string& op, double value, Parameters& parameters) {
  constexpr const char* kNumber = "(v::text)::numeric";
  const std::string real = "CASE WHEN abs(" + std::string(kNumber) +
                           ") < 2.5e-324 THEN 0::float8 ELSE (v::text)::float8 END";
  return "CASE WHEN v::text ~ '[.eE]' OR abs(" + std::string(kNumber) +
         ") > 9223372036854775807 THEN " + real + " " + op + " " + parameters.real(value) +
         " ELSE " + kNumber + " " + op + " " + parameters.text(digits(value)) + "::numeric END";
}

std::string metadata_condition(const IndexFilter& filter, Parameters& parameters) {
  const std::string op = filter.op == "!=" ? "=" : filter.op, &value = filter.value;
  if (!is_text(filter.field)) return "false";
  const std::string from = " FROM " + member(filter.field, parameters) + ")";
  if (op == "=" && (value == "true" || value == "false" || value == "null")) {
    return "(SELECT v::text = '" + value + "'" + from;
  }
  double number = 0;
  const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  const bool numeric = error == std::errc() && stop == value.data() + value.size();
  std::string cases;
  if (numeric && std::isfinite(number)) {
    cases += " WHEN 'number' THEN " + number_condition(op, number, parameters);
  } else if (numeric && !std::isnan(number)) {  // infinite: above all numbers, or below
    const bool up = number > 0;
    cases += std::string(" WHEN 'number' THEN ") + (op[0] == (up ? '<' : '>') ? "true" : "false");
  }
  if ((!numeric || op == "=") && is_text(value)) {
    const std::string text = parameters.text(value);
    // Of a list or an object SQLite's text is the JSON itself without blanks.
    constexpr const char* kDense =
        R"(regexp_replace(v::text, '("(?:[^"\\]|\\.)*")|\s+', '\1', 'g') COLLATE "C" )";
    cases += " WHEN 'string' THEN (v #>> '{}') COLLATE \"C\" " + op + " " + text;
    for (const char* const kind : {"array", "object"}) {
      cases += std::string(" WHEN '") + kind + "' THEN " + kDense + op + " " + text;
    }
  }
  if (cases.empty()) return "false";
  return "(SELECT CASE json_typeof(v)" + cases + " ELSE false END" + from;
}

std::string id_condition(const IndexFilter& filter, Parameters& parameters) {
  return "id " + (filter.op == "!=" ? std::string("<>") : filter.op) + " " +
         parameters.integer(filter.id);
}

}  // namespace

bool is_of_metadata(const IndexFilter& filter) {
  return filter.field != "id" && filter.field != "label" && filter.field != "path";
}

std::string has_member(const IndexFilter& filter, const std::string& type, Parameters& parameters) {
  if (!is_text(filter.field)) return "false";
  const std::string test = type.empty() ? "v IS NOT NULL" : "json_typeof(v) = '" + type + "'";
  return "coalesce((SELECT " + test + " FROM " + member(filter.field, parameters) + "), false)";
}

std::string condition(std::span<const CollectionFilter> filters, Parameters& parameters) {
  std::string all = "true";
  for (const CollectionFilter& one : filters) {
    const IndexFilter& filter = one.filter;
    if (filter.field == "id") {
      all += " AND " + id_condition(filter, parameters);
      continue;
    }
    const std::string found = filter.field == "label"
                                  ? "labels && " + parameters.classes(one.classes)
                              : filter.field == "path" ? path_condition(filter, parameters)
                                                       : metadata_condition(filter, parameters);
    const std::string known = "coalesce((" + found + "), false)";
    // An item that lacks what is asked for fits != .
    if (filter.op == "!=") {
      all += " AND NOT " + known;
    } else {
      // Without coalesce an index of the user's on the column can be used; NULL is as good as false.
      all += " AND (" + found + ")";
    }
  }
  return all;
}

}  // namespace hh::retrieval::postgres
