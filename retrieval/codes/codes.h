// SPDX-License-Identifier: Apache-2.0
// Binary codes of up to 512 bits, packed: what models are trained to give and all searches run on.
// Bit j of a code is byte[j / 8] >> (j % 8) & 1, 1 for +1 and 0 for -1, in files as in memory. In
// memory a code is a row of 64-bit words, little-endian, whose bits past the last one are zero.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace hh::retrieval {

inline constexpr int kMinBits = 1, kMaxBits = 512;

/// Throws std::invalid_argument unless `bits` is from 1 to 512.
void check_bits(int bits);

/// Codes that lie elsewhere: in a PackedCodes, or in a mapped file.
struct CodesView {
  const std::uint64_t* words = nullptr;  // [count, row_words()]
  std::int64_t count = 0;
  int bits = kMinBits;

  int row_words() const { return (bits + 63) / 64; }
  int row_bytes() const { return (bits + 7) / 8; }
  std::span<const std::uint64_t> row(std::int64_t i) const {
    return {words + i * row_words(), std::size_t(row_words())};
  }
  bool bit(std::int64_t i, int j) const { return words[i * row_words() + j / 64] >> (j % 64) & 1; }
  /// Rows [begin, end).
  CodesView slice(std::int64_t begin, std::int64_t end) const {
    return {words + begin * row_words(), end - begin, bits};
  }
};

/// Bits that differ, between rows of one width.
int hamming_distance(std::span<const std::uint64_t> a, std::span<const std::uint64_t> b);

class PackedCodes {
 public:
  PackedCodes() = default;
  /// `count` codes, all bits 0. Throws std::invalid_argument.
  PackedCodes(std::int64_t count, int bits);

  /// From bytes [count, ceil(bits/8)]. Throws std::invalid_argument when their number is another, or
  /// a bit past the last is set: distances would count it.
  static PackedCodes from_bytes(std::span<const std::uint8_t> bytes, std::int64_t count, int bits);
  /// From a network's outputs [count, bits]: bit 1 where the value is > 0, so 0 and NaN give 0.
  static PackedCodes from_floats(std::span<const float> values, std::int64_t count, int bits);

  std::int64_t count() const { return count_; }
  int bits() const { return bits_; }
  int row_words() const { return view().row_words(); }
  std::vector<std::uint8_t> to_bytes() const;  // [count, ceil(bits/8)]

  CodesView view() const { return {words_.data(), count_, bits_}; }
  operator CodesView() const { return view(); }
  std::span<std::uint64_t> row(std::int64_t i) {
    return {words_.data() + i * row_words(), std::size_t(row_words())};
  }
  /// Behind the others. The width must be the same; an empty PackedCodes() takes any.
  void append(CodesView codes);
  void set(std::int64_t i, int j, bool value);

 private:
  std::int64_t count_ = 0;
  int bits_ = kMinBits;
  std::vector<std::uint64_t> words_;
};

}  // namespace hh::retrieval
