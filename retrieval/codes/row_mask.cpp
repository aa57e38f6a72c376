// SPDX-License-Identifier: Apache-2.0
#include "retrieval/codes/row_mask.h"

#include <bit>
#include <utility>

#include "kernels/core/check.h"

namespace hh::retrieval {
namespace {

/// Word w of a mask whose first `rows` bits are set.
std::uint64_t full_word(std::int64_t rows, std::int64_t w) {
  const std::int64_t left = rows - w * 64;
  return left >= 64 ? ~std::uint64_t{0} : left <= 0 ? 0 : (std::uint64_t{1} << left) - 1;
}

}  // namespace

RowMask::RowMask(std::int64_t rows, bool value) { resize(rows, value); }

RowMask::RowMask(std::int64_t rows, std::vector<std::uint64_t> words)
    : rows_(rows), words_(std::move(words)) {
  HH_REQUIRE(rows >= 0 && std::int64_t(words_.size()) == (rows + 63) / 64,
             words_.size() << " words for a mask of " << rows << " rows");
  if (!words_.empty()) words_.back() &= full_word(rows, std::int64_t(words_.size()) - 1);
}

void RowMask::set(std::int64_t row, bool value) {
  const std::uint64_t bit = std::uint64_t{1} << (row % 64);
  std::uint64_t& word = words_[std::size_t(row / 64)];
  word = value ? word | bit : word & ~bit;
}

std::int64_t RowMask::count() const {
  std::int64_t count = 0;
  for (const std::uint64_t word : words_) count += std::popcount(word);
  return count;
}

RowMask& RowMask::operator&=(const RowMask& other) {
  HH_PRECONDITION(rows_ == other.rows_, "masks of " << rows_ << " and " << other.rows_ << " rows");
  for (std::size_t w = 0; w < words_.size(); ++w) words_[w] &= other.words_[w];
  return *this;
}

RowMask& RowMask::operator-=(const RowMask& other) {
  HH_PRECONDITION(rows_ == other.rows_, "masks of " << rows_ << " and " << other.rows_ << " rows");
  for (std::size_t w = 0; w < words_.size(); ++w) words_[w] &= ~other.words_[w];
  return *this;
}

RowMask RowMask::slice(std::int64_t begin, std::int64_t end) const {
  HH_PRECONDITION(0 <= begin && begin <= end && end <= rows_,
                  "rows " << begin << " to " << end << " of a mask of " << rows_);
  RowMask part(end - begin, false);
  const auto first = std::size_t(begin / 64);
  const int shift = int(begin % 64);
  for (std::size_t w = 0; w < part.words_.size(); ++w) {
    std::uint64_t word = words_[first + w] >> shift;
    if (shift > 0 && first + w + 1 < words_.size()) word |= words_[first + w + 1] << (64 - shift);
    part.words_[w] = word & full_word(part.rows_, std::int64_t(w));
  }
  return part;
}

void RowMask::resize(std::int64_t rows, bool value) {
  HH_PRECONDITION(rows >= 0, "a mask of " << rows << " rows");
  const std::int64_t before = rows_;
  rows_ = rows;
  words_.resize(std::size_t((rows + 63) / 64));
  for (std::int64_t w = 0; w < std::int64_t(words_.size()); ++w) {
    const std::uint64_t full = full_word(rows, w), old = full_word(before, w);
    if (full == old) continue;
    words_[std::size_t(w)] = (words_[std::size_t(w)] & old & full) | (value ? full & ~old : 0);
  }
}

}  // namespace hh::retrieval
