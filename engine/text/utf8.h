// SPDX-License-Identifier: Apache-2.0
// Names of files are bytes, and JSON, TOML, HTML and SQL take UTF-8 alone. One rule for all of them:
// a byte that isn't UTF-8 is written \xNN. So that two names never become one, a backslash that
// such an escape could be mistaken for is written \x5c. All other text stays as it is.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace hh {

bool is_utf8(std::string_view bytes);
/// The bytes of one character.
std::string utf8_of(std::uint32_t character);

/// Of a name: it is valid, and bytes_of_utf8() gives the name back.
std::string as_utf8(std::string_view name);
std::string bytes_of_utf8(std::string_view text);

/// Of a name that stands among lines of text: its own line ends are written \n.
std::string one_line(std::string_view name);

/// Of text that may have been through as_utf8() before: only what isn't UTF-8 is escaped.
std::string repaired_utf8(std::string_view text);

}  // namespace hh
