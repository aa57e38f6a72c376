// SPDX-License-Identifier: Apache-2.0
#include "retrieval/engines/milvus/expression.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>

#include "engine/text/utf8.h"

namespace hh::retrieval {
namespace {

constexpr const char *kLabels = "item[\"l\"]", *kPath = "item[\"p\"]";

bool plain(std::string_view text) {
  return is_utf8(text) && std::none_of(text.begin(), text.end(), [](char c) {
           return static_cast<unsigned char>(c) < ' ' || c == 0x7f;
         });
}

/// Of text that is plain().
std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string negation(const std::string& condition) { return "not (" + condition + ")"; }

/// a.b is member b of member a. Milvus takes the name between quotes as it is, and numbers for places
/// in arrays.
std::optional<std::string> member(const std::string& key) {
  std::string text = std::string(kItemField) + "[\"m\"]";
  for (std::size_t at = 0; at <= key.size();) {
    const std::size_t dot = std::min(key.find('.', at), key.size());
    const std::string name = key.substr(at, dot - at);
    at = dot + 1;
    if (name.empty() || !plain(name) || name.find_first_of("\"'\\[]/~") != std::string::npos ||
        name.find_first_not_of("0123456789-") == std::string::npos) {
      return {};
    }
    text += "[\"" + name + "\"]";
  }
  return text;
}

std::optional<std::string> metadata_condition(const IndexFilter& filter, const MilvusItems& items) {
  const auto of = member(filter.field);
  const std::string& value = filter.value;
  if (!of || !plain(value) || value == "null") return {};
  const bool negated = filter.op == "!=";
  const std::string op = filter.op == "=" || negated ? "==" : filter.op;
  std::string condition = *of + " " + op + " " + in_quotes(value);
  double number = 0;
  const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (op == "==" && (value == "true" || value == "false")) {
    condition = *of + " == " + value;
  } else if (error == std::errc() && stop == value.data() + value.size()) {
    // Above, Milvus rounds whole numbers to doubles before it compares them.
    if (!(std::abs(number) < 0x1p53)) return {};
    char digits[40];
    std::snprintf(digits, sizeof digits, "%.17e", number);  // an exponent: no whole number
    const std::string compared = *of + " " + op + " " + digits;
    if (op == "==" && items.has_zeros) return {};
    condition = op == "==" ? compared + " or " + condition : compared;
  } else if (items.has_zeros || (op == "==" ? value.starts_with('[') || value.starts_with('{')
                                            : items.has_lists(filter.field))) {
    return {};
  }
  return negated ? negation(condition) : "(" + condition + ")";
}

/// A character's number from its valid UTF-8, and back.
unsigned code_point(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  const std::size_t size = character.size();
  unsigned value = size == 1 ? first : first & (0x7fu >> size);
  for (const char c : character.substr(1))
    value = value << 6 | (static_cast<unsigned char>(c) & 0x3f);
  return value;
}

/// The least text above all that start so; nothing where there is none. The order of UTF-8's bytes is
/// that of the characters.
std::optional<std::string> above_prefix(std::string prefix) {
  constexpr unsigned kSurrogates = 0xd800, kBehindThem = 0xe000, kLast = 0x10ffff;
  while (!prefix.empty()) {
    std::size_t at = prefix.size() - 1;
    while ((static_cast<unsigned char>(prefix[at]) & 0xc0) == 0x80) --at;
    const unsigned next = code_point(prefix.substr(at)) + 1;
    prefix.resize(at);
    if (next <= kLast) return prefix + utf8_of(next == kSurrogates ? kBehindThem : next);
  }
  return {};
}

/// Of a glob: `text` says at least what it says; `exact`: no more.
struct Glob {
  std::string text;
  bool exact = false;
};

Glob glob_condition(const std::string& glob) {
  const std::size_t special = glob.find_first_of("*?[");
  const std::string prefix = glob.substr(0, special);
  // A backslash may be written otherwise in a path as it is kept.
  if (!plain(prefix) || prefix.find('\\') != std::string::npos) return {};
  const std::string from = std::string(kPath) + " >= " + in_quotes(prefix);
  if (special == std::string::npos) return {std::string(kPath) + " == " + in_quotes(prefix), true};
  const bool stars = glob.find_first_not_of('*', special) == std::string::npos;
  if (prefix.empty()) return {from, stars};
  const auto end = above_prefix(prefix);
  if (!end || !plain(*end)) return {from, false};
  return {"(" + from + " and " + kPath + " < " + in_quotes(*end) + ")", stars};
}

std::string path_condition(const IndexFilter& filter, bool& exact) {
  exact = true;
  if (filter.op == "~") {
    const Glob glob = glob_condition(filter.value);
    exact = glob.exact;
    return glob.text;
  }
  const std::string kept = as_utf8(bytes_of_utf8(filter.value));
  exact = plain(kept);
  if (!exact) return "";
  const std::string same = std::string(kPath) + " == " + in_quotes(kept);
  return filter.op == "!=" ? negation(same) : same;
}

std::string label_condition(const CollectionFilter& filter) {
  std::string classes;
  for (const int c : filter.classes) classes += (classes.empty() ? "" : ",") + std::to_string(c);
  const std::string any = "json_contains_any(" + std::string(kLabels) + ",[" + classes + "])";
  return filter.filter.op == "!=" ? negation(any) : any;
}

}  // namespace

std::string id_condition(const std::string& op, std::int64_t id) {
  // Milvus reads the sign apart, and can't read the least number's.
  constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();
  if (id != kLeast) return std::string(kIdField) + " " + op + " " + std::to_string(id);
  const bool with_least = op == "==" || op == "<=" || op == ">=",
             above = op[0] == '>' || op == "!=";
  if (with_least && above) return std::string(kIdField) + " != 0 or " + kIdField + " == 0";
  if (!with_least && !above) return std::string(kIdField) + " in []";
  return id_condition(above ? ">=" : "<", kLeast + 1);
}

std::string ids_condition(std::span<const std::int64_t> ids) {
  std::string text = std::string(kIdField) + " in [";
  bool least = false;
  for (const std::int64_t id : ids) {
    least = least || id == std::numeric_limits<std::int64_t>::min();
    if (id != std::numeric_limits<std::int64_t>::min()) text += std::to_string(id) + ',';
  }
  if (text.back() == ',') text.pop_back();
  text += ']';
  return least ? text + " or " + id_condition("==", std::numeric_limits<std::int64_t>::min())
               : text;
}

std::string both_conditions(const std::string& a, const std::string& b) {
  if (a.empty() || b.empty()) return a + b;
  return "(" + a + ") and (" + b + ")";
}

MilvusCondition milvus_condition(std::span<const CollectionFilter> filters,
                                 const MilvusItems& items) {
  MilvusCondition made;
  for (const CollectionFilter& filter : filters) {
    std::string text;
    bool exact = true;
    if (filter.filter.field == "id") {
      text = id_condition(filter.filter.op == "=" ? "==" : filter.filter.op, filter.filter.id);
    } else if (filter.filter.field == "label") {
      text = label_condition(filter);
    } else if (filter.filter.field == "path") {
      text = path_condition(filter.filter, exact);
      exact = exact && !(items.has_zeros && filter.filter.op == "~");
      if (!exact && items.has_zeros) text.clear();
    } else {
      const auto condition = metadata_condition(filter.filter, items);
      exact = condition.has_value();
      text = condition.value_or("");
    }
    made.text = both_conditions(made.text, text);
    if (!exact) made.rest.push_back(&filter);
  }
  return made;
}

std::optional<MemberConditions> member_conditions(const std::string& key) {
  const auto of = member(key);
  if (!of) return {};
  MemberConditions made{.exists = "exists " + *of,
                        .number = *of + " >= 0.0 or " + *of + " < 0.0",
                        .text = *of + " >= \"\""};
  made.scalar =
      made.number + " or " + made.text + " or " + *of + " == true or " + *of + " == false";
  return made;
}

}  // namespace hh::retrieval
