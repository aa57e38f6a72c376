// SPDX-License-Identifier: Apache-2.0
#include "apps/terminal/shown_text.h"

#include <cstdint>
#include <nlohmann/json.hpp>

#include "engine/text/json_text.h"

namespace hh::apps {
namespace {

struct Character {
  std::uint32_t code = 0;
  std::size_t bytes = 0;  // 0: no UTF-8
};

/// The first of a text that isn't empty. Only the shortest writing counts, as everywhere.
Character decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return {first, 1};
  const std::size_t count = first >= 0xF8   ? 0
                            : first >= 0xF0 ? 4
                            : first >= 0xE0 ? 3
                            : first >= 0xC2 ? 2
                                            : 0;
  if (count == 0 || count > text.size()) return {};
  std::uint32_t code = first & (0xFFU >> (count + 1));
  for (std::size_t i = 1; i < count; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3F);
  }
  constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kLeast[count] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return {};
  return {code, count};
}

bool is_harmful(std::uint32_t code) {
  const auto within = [&](std::uint32_t first, std::uint32_t last) {
    return code >= first && code <= last;
  };
  return code < 0x20 || within(0x7F, 0x9F) || code == 0x61C || within(0x200E, 0x200F) ||
         within(0x2028, 0x202E) || within(0x2066, 0x2069) || code == 0xFEFF;
}

std::string escaped(std::uint32_t code) {
  if (code == '\n') return "\\n";
  if (code == '\r') return "\\r";
  if (code == '\t') return "\\t";
  return code < 0x80 ? fmt::format("\\x{:02x}", code) : fmt::format("\\u{:04x}", code);
}

template <class Escape>
std::string replaced(std::string_view text, bool lines, const Escape& escape) {
  std::string result;
  while (!text.empty()) {
    const Character c = decode(text);
    if (c.bytes == 0) {
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    } else if (is_harmful(c.code) && !(lines && c.code == '\n')) {
      result += escape(c.code);
    } else {
      result += text.substr(0, c.bytes);
    }
    text.remove_prefix(c.bytes == 0 ? 1 : c.bytes);
  }
  return result;
}

}  // namespace

std::string shown_text(std::string_view text) { return replaced(text, false, escaped); }
std::string shown_lines(std::string_view text) { return replaced(text, true, escaped); }

std::string shown_json(const nlohmann::ordered_json& json) {
  // Those that are left by dump() stand in strings only.
  return replaced(json_text(json), false,
                  [](std::uint32_t code) { return fmt::format("\\u{:04x}", code); });
}

}  // namespace hh::apps
