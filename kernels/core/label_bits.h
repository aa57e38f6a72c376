// SPDX-License-Identifier: Apache-2.0
// Labels of an item as one bit a class, packed into 64-bit words: bit c is word[c / 64] >> (c % 64)
// & 1. "Share a class" is then an AND.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/core/check.h"

namespace hh {

/// Words of an item.
constexpr int label_words(int classes) { return (classes + 63) / 64; }

/// Of an item's words.
inline bool has_label(const std::uint64_t* words, int c) { return words[c / 64] >> (c % 64) & 1; }
inline void set_label(std::uint64_t* words, int c) {
  words[c / 64] |= std::uint64_t{1} << (c % 64);
}

/// Words [count, label_words(classes)] of values [count, classes]: a bit where the value isn't 0.
/// Throws std::invalid_argument when their number is another.
template <class Values>
std::vector<std::uint64_t> pack_labels(const Values& multi_hot, std::int64_t count, int classes) {
  HH_REQUIRE(classes >= 1, "labels of " << classes << " classes");
  const auto width = std::size_t(classes), words = std::size_t(label_words(classes));
  HH_REQUIRE(
      count >= 0 && multi_hot.size() % width == 0 && multi_hot.size() / width == std::size_t(count),
      "labels of " << count << " items and " << classes << " classes can't be " << multi_hot.size()
                   << " values");
  std::vector<std::uint64_t> packed(std::size_t(count) * words);
  for (std::size_t i = 0; i < std::size_t(count); ++i) {
    for (int c = 0; c < classes; ++c) {
      if (multi_hot[i * width + std::size_t(c)] != 0) set_label(&packed[i * words], c);
    }
  }
  return packed;
}

}  // namespace hh
