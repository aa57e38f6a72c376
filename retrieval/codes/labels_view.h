// SPDX-License-Identifier: Apache-2.0
// Labels of coded items (kernels/core/label_bits.h). Two items are similar when they share a class;
// an item without labels is similar to none.
#pragma once
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/core/label_bits.h"

namespace hh::retrieval {

struct LabelsView {
  const std::uint64_t* words = nullptr;  // [count, row_words()]
  std::int64_t count = 0;
  int classes = 0;

  int row_words() const { return label_words(classes); }
  bool has(std::int64_t i, int c) const { return has_label(words + i * row_words(), c); }
  /// Calls f(c) for each class of item i, ascending.
  template <class F>
  void for_each_class(std::int64_t i, F&& f) const {
    for (int w = 0; w < row_words(); ++w) {
      for (std::uint64_t word = words[i * row_words() + w]; word != 0; word &= word - 1) {
        f(w * 64 + std::countr_zero(word));
      }
    }
  }
  LabelsView slice(std::int64_t begin, std::int64_t end) const {
    return {words + begin * row_words(), end - begin, classes};
  }
};

/// The words of one more item, which has these classes, behind those of the others.
void append_labels(std::vector<std::uint64_t>& labels, int classes, std::span<const int> of_item);

}  // namespace hh::retrieval
