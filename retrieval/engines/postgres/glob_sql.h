// SPDX-License-Identifier: Apache-2.0
// SQLite's GLOB, by which an index finds paths, in PostgreSQL's words: * ? [abc] [a-z] [^a-z], a ] that
// comes first stands for itself, and a set without an end fits nothing.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace hh::retrieval::postgres {

/// Two digits a byte, as encode(bytes, 'hex') gives them.
std::string hex_of(std::string_view bytes);

/// A pattern for LIKE, where there are no sets. `glob` is UTF-8.
std::optional<std::string> like_of_glob(std::string_view glob);
/// A regular expression of text (~); nothing where no text fits. `glob` is UTF-8.
std::optional<std::string> regex_of_glob(std::string_view glob);
/// The same, of the hexadecimal digits of a path that isn't UTF-8; nor need the glob be. Throws
/// std::invalid_argument for ranges of very many letters that aren't ASCII.
std::optional<std::string> hex_regex_of_glob(std::string_view glob);

}  // namespace hh::retrieval::postgres
