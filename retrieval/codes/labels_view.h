// SPDX-License-Identifier: Apache-2.0
// Labels of coded items: one bit a class, packed into 64-bit words (bit c of an item is
// word[c / 64] >> (c % 64) & 1), as data::Labels has them. Two items are similar when they share a
// class; an item without labels is similar to none.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace hh::retrieval {

struct LabelsView {
  const std::uint64_t* words = nullptr;  // [count, row_words()]
  std::int64_t count = 0;
  int classes = 0;

  int row_words() const { return (classes + 63) / 64; }
  bool has(std::int64_t i, int c) const { return words[i * row_words() + c / 64] >> (c % 64) & 1; }
  LabelsView slice(std::int64_t begin, std::int64_t end) const {
    return {words + begin * row_words(), end - begin, classes};
  }
};

/// From 0/1 bytes [count, classes]; every nonzero byte counts as 1.
std::vector<std::uint64_t> pack_labels(std::span<const std::uint8_t> multi_hot, std::int64_t count,
                                       int classes);

}  // namespace hh::retrieval
