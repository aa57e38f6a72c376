// SPDX-License-Identifier: Apache-2.0
// A set of database rows, one bit each: what a search may return. Deleted rows and filters are
// applied inside the scan by it.
#pragma once
#include <cstdint>
#include <vector>

namespace hh::retrieval {

class RowMask {
 public:
  RowMask() = default;
  RowMask(std::int64_t rows, bool value);
  /// Of words as words() has them; bits past the last row don't matter.
  RowMask(std::int64_t rows, std::vector<std::uint64_t> words);

  std::int64_t rows() const { return rows_; }
  bool test(std::int64_t row) const { return words_[std::size_t(row / 64)] >> (row % 64) & 1; }
  void set(std::int64_t row, bool value);
  std::int64_t count() const;  // of rows in the set
  /// Rows in both; the sizes must be equal.
  RowMask& operator&=(const RowMask& other);
  /// Rows in this but not in the other.
  RowMask& operator-=(const RowMask& other);
  /// Changes the number of rows; new ones get `value`.
  void resize(std::int64_t rows, bool value);
  /// The rows [begin, end), as a mask of their own.
  RowMask slice(std::int64_t begin, std::int64_t end) const;

  /// Bit row % 64 of word row / 64; bits past the last row are zero.
  const std::uint64_t* words() const { return words_.data(); }

 private:
  std::int64_t rows_ = 0;
  std::vector<std::uint64_t> words_;
};

}  // namespace hh::retrieval
