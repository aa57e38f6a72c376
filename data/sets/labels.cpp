// SPDX-License-Identifier: Apache-2.0
#include "data/sets/labels.h"

#include <bit>

#include "engine/text/counted.h"
#include "kernels/core/check.h"
#include "kernels/core/label_bits.h"

namespace hh::data {

Labels::Labels(std::int64_t items, int classes) : items_(items), classes_(classes) {
  HH_PRECONDITION(items >= 0, "labels of " << items << " items: use 0 or more");
  HH_REQUIRE(classes >= 1 && classes <= kMaxClasses,
             "labels of " << counted(classes, "class", "classes") << ": use 1 to " << kMaxClasses);
  bits_.assign(std::size_t(items) * std::size_t(words()), 0);
}

std::span<const std::uint64_t> Labels::of(std::int64_t item) const {
  HH_PRECONDITION(item >= 0 && item < items_, "labels: item " << item << " of " << items_);
  const auto n = std::size_t(words());
  return {bits_.data() + std::size_t(item) * n, n};
}

bool Labels::has(std::int64_t item, int c) const {
  HH_PRECONDITION(c >= 0 && c < classes_, "labels: class " << c << " of " << classes_);
  return has_label(of(item).data(), c);
}

void Labels::set(std::int64_t item, int c) {
  HH_PRECONDITION(item >= 0 && item < items_, "labels: item " << item << " of " << items_);
  HH_PRECONDITION(c >= 0 && c < classes_, "labels: class " << c << " of " << classes_);
  set_label(bits_.data() + std::size_t(item) * std::size_t(words()), c);
}

int Labels::count(std::int64_t item) const {
  int n = 0;
  for (const std::uint64_t word : of(item)) n += std::popcount(word);
  return n;
}

int Labels::first_class(std::int64_t item) const {
  const auto bits = of(item);
  for (std::size_t i = 0; i < bits.size(); ++i) {
    if (bits[i] != 0) return int(64 * i) + std::countr_zero(bits[i]);
  }
  return -1;
}

}  // namespace hh::data
