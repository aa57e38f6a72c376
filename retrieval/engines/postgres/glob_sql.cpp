// SPDX-License-Identifier: Apache-2.0
#include "retrieval/engines/postgres/glob_sql.h"

#include <cstdint>
#include <cstdio>
#include <vector>

#include "engine/text/utf8.h"
#include "kernels/core/check.h"

namespace hh::retrieval::postgres {
namespace {

constexpr const char* kByte = "(?:(?!00)..)";
/// What SQLite takes for one character: what leads one takes all that follow.
constexpr const char* kCharacter = "(?:(?!00)[0-9ab].|[cdef].(?:[89ab].)*(?![89ab].))";

struct Range {
  std::uint32_t first = 0, last = 0;
};

struct Token {
  enum Kind { kLetter, kAny, kAnyOne, kSet } kind = kLetter;
  std::string bytes;  // of a letter
  std::vector<Range> ranges;
  bool inverted = false;
};

/// Reads as SQLite does: a byte that leads takes what follows it.
class Letters {
 public:
  explicit Letters(std::string_view text) : text_(text) {}
  bool done() const { return at_ >= text_.size() || text_[at_] == '\0'; }
  char peek() const { return done() ? '\0' : text_[at_]; }
  std::string next(std::uint32_t& number) {
    const std::size_t begin = at_;
    const auto lead = static_cast<unsigned char>(text_[at_++]);
    number = lead;
    if (lead >= 0xc0) {
      number = lead >= 0xf0 ? lead & 0x07u : lead >= 0xe0 ? lead & 0x0fu : lead & 0x1fu;
      while (!done() && (static_cast<unsigned char>(text_[at_]) & 0xc0) == 0x80) {
        number = number << 6 | (static_cast<unsigned char>(text_[at_++]) & 0x3fu);
      }
    }
    return std::string(text_.substr(begin, at_ - begin));
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

/// Behind a [. False where there is no end.
bool read_set(Letters& letters, Token& token) {
  std::uint32_t c = 0, before = 0;
  if (letters.peek() == '^') {
    token.inverted = true;
    letters.next(c);
  }
  if (letters.peek() == ']') {
    letters.next(c);
    token.ranges.push_back({']', ']'});
  }
  while (!letters.done() && letters.peek() != ']') {
    letters.next(c);
    if (c == '-' && letters.peek() != ']' && !letters.done() && before > 0) {
      letters.next(c);
      if (before <= c) token.ranges.push_back({before, c});
      before = 0;
    } else {
      token.ranges.push_back({c, c});
      before = c;
    }
  }
  if (letters.done()) return false;
  letters.next(c);
  return true;
}

/// Nothing where nothing fits.
std::optional<std::vector<Token>> tokens_of(std::string_view glob) {
  std::vector<Token> tokens;
  Letters letters(glob);
  while (!letters.done()) {
    Token token;
    std::uint32_t c = 0;
    token.bytes = letters.next(c);
    if (c == '*') {
      token.kind = Token::kAny;
      if (!tokens.empty() && tokens.back().kind == Token::kAny) continue;
    } else if (c == '?') {
      token.kind = Token::kAnyOne;
    } else if (c == '[') {
      token.kind = Token::kSet;
      if (!read_set(letters, token)) return std::nullopt;
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

std::string escape_of(std::uint32_t c) {
  char text[16];
  std::snprintf(text, sizeof text, "\\U%08x", unsigned(c));
  return text;
}

std::string text_set(const Token& set) {
  std::string text = set.inverted ? "[^" : "[";
  for (const Range& range : set.ranges) {
    text += escape_of(range.first);
    if (range.last > range.first) text += '-' + escape_of(range.last);
  }
  return text + ']';
}

std::string hex_set(const Token& set) {
  constexpr std::uint32_t kMost = 5000;
  std::string any;
  std::uint64_t count = 0;
  for (const Range& range : set.ranges) {
    count += std::uint64_t(range.last) - range.first + 1;
    HH_REQUIRE(count <= kMost, "a set of " << count << " letters: use at most " << kMost);
    for (std::uint32_t c = range.first; c <= range.last; ++c) {
      any += (any.empty() ? "" : "|") + hex_of(utf8_of(c));
    }
  }
  // The letter as a whole, so that the lead of a longer one doesn't pass for it.
  return std::string("(?") + (set.inverted ? '!' : '=') + "(?:" + any + ")(?![89ab].))" +
         kCharacter;
}

}  // namespace

std::string hex_of(std::string_view bytes) {
  std::string hex;
  for (const char c : bytes) {
    hex += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
    hex += "0123456789abcdef"[static_cast<unsigned char>(c) & 15];
  }
  return hex;
}

std::optional<std::string> like_of_glob(std::string_view glob) {
  const auto tokens = tokens_of(glob);
  if (!tokens) return std::nullopt;
  std::string like;
  for (const Token& token : *tokens) {
    if (token.kind == Token::kSet) return std::nullopt;
    if (token.kind == Token::kAny) {
      like += '%';
    } else if (token.kind == Token::kAnyOne) {
      like += '_';
    } else {
      if (token.bytes == "%" || token.bytes == "_" || token.bytes == "\\") like += '\\';
      like += token.bytes;
    }
  }
  return like;
}

std::optional<std::string> regex_of_glob(std::string_view glob) {
  const auto tokens = tokens_of(glob);
  if (!tokens) return std::nullopt;
  std::string regex = "^";
  for (const Token& token : *tokens) {
    if (token.kind == Token::kSet) {
      regex += text_set(token);
    } else if (token.kind == Token::kLetter) {
      const char c = token.bytes[0];
      const bool plain = token.bytes.size() > 1 || (c >= '0' && c <= '9') ||
                         (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c < ' ' || c > '~';
      regex += (plain ? "" : "\\") + token.bytes;
    } else {
      regex += token.kind == Token::kAny ? ".*" : ".";
    }
  }
  return regex + '$';
}

std::optional<std::string> hex_regex_of_glob(std::string_view glob) {
  const auto tokens = tokens_of(glob);
  if (!tokens) return std::nullopt;
  std::string regex = "^";
  for (const Token& token : *tokens) {
    if (token.kind == Token::kSet) {
      regex += hex_set(token);
    } else if (token.kind == Token::kLetter) {
      regex += hex_of(token.bytes);
    } else if (token.kind == Token::kAny) {
      regex += std::string(kByte) + '*';
    } else {
      regex += kCharacter;
    }
  }
  return regex + "(?:$|00)";  // SQLite's text ends at a zero byte
}

}  // namespace hh::retrieval::postgres
