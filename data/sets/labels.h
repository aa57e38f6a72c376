// SPDX-License-Identifier: Apache-2.0
// Labels of a data set: per item one bit a class, packed into 64-bit words (bit c of the item is
// word[c / 64] >> (c % 64) & 1), so that "share a class" is an AND.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/core/label_bits.h"

namespace hh::data {

class Labels {
 public:
  Labels() = default;
  /// `items` items of `classes` classes, no bit set. 1 <= classes <= kMaxClasses.
  Labels(std::int64_t items, int classes);

  static constexpr int kMaxClasses = 1 << 16;

  std::int64_t items() const { return items_; }
  int classes() const { return classes_; }
  int words() const { return label_words(classes_); }  // per item

  std::span<const std::uint64_t> of(std::int64_t item) const;
  bool has(std::int64_t item, int c) const;
  void set(std::int64_t item, int c);
  int count(std::int64_t item) const;
  /// The item's only class; its lowest if it has several; -1 if it has none.
  int first_class(std::int64_t item) const;

 private:
  std::int64_t items_ = 0;
  int classes_ = 0;
  std::vector<std::uint64_t> bits_;  // items x words
};

inline bool share_a_class(std::span<const std::uint64_t> a, std::span<const std::uint64_t> b) {
  std::uint64_t common = 0;
  for (std::size_t i = 0; i < a.size(); ++i) common |= a[i] & b[i];
  return common != 0;
}

}  // namespace hh::data
