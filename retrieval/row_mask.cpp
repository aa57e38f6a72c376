#include "retrieval/row_mask.h"

#include <bit>

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
  HH_REQUIRE(rows_ == other.rows_, "masks of " << rows_ << " and " << other.rows_ << " rows");
  for (std::size_t w = 0; w < words_.size(); ++w) words_[w] &= other.words_[w];
  return *this;
}

RowMask& RowMask::operator-=(const RowMask& other) {
  HH_REQUIRE(rows_ == other.rows_, "masks of " << rows_ << " and " << other.rows_ << " rows");
  for (std::size_t w = 0; w < words_.size(); ++w) words_[w] &= ~other.words_[w];
  return *this;
}

void RowMask::resize(std::int64_t rows, bool value) {
  HH_REQUIRE(rows >= 0, "a mask of " << rows << " rows");
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
