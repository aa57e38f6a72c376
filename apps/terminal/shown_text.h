// SPDX-License-Identifier: Apache-2.0
// Text of others on the user's terminal: names of files and classes, messages of libraries. What
// could move the cursor, change colours or turn the writing's direction is shown as an escape, as
// \x1b, \n or \u202e. Files that are written keep the bytes.
#pragma once
#include <fmt/format.h>

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <type_traits>

namespace hh::apps {

/// One line: without control characters (C0, DEL, C1), separators of lines, marks of direction,
/// and bytes that aren't UTF-8.
std::string shown_text(std::string_view text);
/// The same for text of several lines, whose line ends stay.
std::string shown_lines(std::string_view text);
/// One line of JSON of the same value, with these characters as JSON's escapes.
std::string shown_json(const nlohmann::ordered_json& json);

template <class T>
auto shown(const T& value) {
  if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    return shown_text(value);
  } else {
    return value;
  }
}

/// fmt::print to stdout whose texts are shown_text().
template <class... Args>
void say(fmt::format_string<decltype(shown(std::declval<const Args&>()))...> format,
         const Args&... args) {
  fmt::print(format, shown(args)...);
}

}  // namespace hh::apps
