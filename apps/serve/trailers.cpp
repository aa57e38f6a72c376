// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/trailers.h"

#include <charconv>

namespace hh::apps {

std::size_t TrailerFilter::filter(char* data, std::size_t count) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (keep(data[i])) data[kept++] = data[i];
  }
  return kept;
}

void TrailerFilter::read_size(char c) {
  constexpr int kHex = 16;
  unsigned digit = 0;
  if (std::from_chars(&c, &c + 1, digit, kHex).ec == std::errc()) {
    broken_ = broken_ || left_ >> 56 != 0;
    left_ = left_ * kHex + digit;
    ++digits_;
  } else {
    const bool ends = c == '\r' || c == '\n' || c == ';' || c == ' ' || c == '\t';
    broken_ = broken_ || digits_ == 0 || !ends;
    at_ = At::kExtension;
  }
}

bool TrailerFilter::keep(char c) {
  switch (at_) {
    case At::kSize:
    case At::kExtension:
      if (at_ == At::kSize) read_size(c);
      if (c == '\n') {
        at_ = left_ > 0 ? At::kData : At::kTrailer;
        digits_ = 0;
        in_line_ = 0;
      }
      return true;
    case At::kData:
      if (--left_ == 0) at_ = At::kDataEnd;
      return true;
    case At::kDataEnd:
      if (c == '\n') at_ = At::kSize;
      return true;
    case At::kTrailer:
      if (in_line_ == 0 && c == '\r') return true;  // of the empty line that ends the body
      too_long_ = too_long_ || ++trailers_ > kMaxHead || in_line_ > kMaxLine;
      if (c != '\n') {
        ++in_line_;
        return false;
      }
      if (in_line_ == 0) {
        at_ = At::kAfter;
        return true;
      }
      in_line_ = 0;
      return false;
    case At::kAfter:
      break;
  }
  return true;
}

}  // namespace hh::apps
