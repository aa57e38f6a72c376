// SPDX-License-Identifier: Apache-2.0
#include "engine/text/utf8.h"

#include <cstddef>

namespace hh {
namespace {

unsigned at(std::string_view text, std::size_t i) {
  return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
}

/// Bytes of the character that starts at `i`; 0 if none does. RFC 3629: no overlong forms, no
/// surrogates, nothing above U+10FFFF.
std::size_t character(std::string_view text, std::size_t i) {
  const unsigned first = at(text, i), second = at(text, i + 1);
  const auto follows = [&](std::size_t n) { return (at(text, i + n) & 0xc0) == 0x80; };
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool right = !(first == 0xe0 && second < 0xa0) && !(first == 0xed && second > 0x9f);
    return right && follows(1) && follows(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool right = !(first == 0xf0 && second < 0x90) && !(first == 0xf4 && second > 0x8f);
    return right && follows(1) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

int digit(unsigned c) {
  if (c >= '0' && c <= '9') return int(c - '0');
  return c >= 'a' && c <= 'f' ? int(c - 'a') + 10 : -1;
}

/// The byte that an escape at `i` stands for; -1 if there is none.
int escaped_byte(std::string_view text, std::size_t i) {
  if (at(text, i) != '\\' || at(text, i + 1) != 'x') return -1;
  const int high = digit(at(text, i + 2)), low = digit(at(text, i + 3));
  if (high < 0 || low < 0) return -1;
  const int byte = high * 16 + low;
  return byte >= 0x80 || byte == '\\' ? byte : -1;
}

std::string escaped(std::string_view text, bool backslashes) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = character(text, i);
    if (length == 0 || (backslashes && escaped_byte(text, i) >= 0)) {
      constexpr const char* kDigits = "0123456789abcdef";
      out += "\\x";
      out += kDigits[at(text, i) >> 4];
      out += kDigits[at(text, i) & 15];
      ++i;
    } else {
      out += text.substr(i, length);
      i += length;
    }
  }
  return out;
}

}  // namespace

bool is_utf8(std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t length = character(bytes, i);
    if (length == 0) return false;
    i += length;
  }
  return true;
}

std::string utf8_of(std::uint32_t c) {
  const auto tail = [&](int shift) { return char(0x80 | (c >> shift & 0x3f)); };
  if (c < 0x80) return {char(c)};
  if (c < 0x800) return {char(0xc0 | c >> 6), tail(0)};
  if (c < 0x10000) return {char(0xe0 | c >> 12), tail(6), tail(0)};
  return {char(0xf0 | (c >> 18 & 7)), tail(12), tail(6), tail(0)};
}

std::string as_utf8(std::string_view name) { return escaped(name, true); }
std::string repaired_utf8(std::string_view text) { return escaped(text, false); }

std::string bytes_of_utf8(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const int byte = escaped_byte(text, i);
    out += byte >= 0 ? char(byte) : text[i];
    i += byte >= 0 ? 4 : 1;
  }
  return out;
}

std::string one_line(std::string_view name) {
  std::string line;
  for (const char c : name) line += c == '\n' ? std::string("\\n") : std::string(1, c);
  return line;
}

}  // namespace hh
