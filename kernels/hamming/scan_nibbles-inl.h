// SPDX-License-Identifier: Apache-2.0
// Distances by nibbles: one table lookup of 16 entries per nibble, where the table already knows
// the query's nibble, so that a lookup and an addition deal with 4 bits of 32 rows (AVX2) or 64.
// The nibbles of a tile are unpacked once for all queries of a group. Included inside
// HWY_BEFORE_NAMESPACE, once per target, hence the toggled guard.
#if defined(HH_KERNELS_HAMMING_SCAN_NIBBLES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HH_KERNELS_HAMMING_SCAN_NIBBLES_INL_H_
#undef HH_KERNELS_HAMMING_SCAN_NIBBLES_INL_H_
#else
#define HH_KERNELS_HAMMING_SCAN_NIBBLES_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/hamming/blocks.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR  // which has no table lookup

/// Whether the first planes alone have shown rows to be too far. Stops being asked where that works
/// too rarely: among codes that agree in their first bits.
struct EarlyCheck {
  std::int64_t tried = 0, failed = 0;

  /// Planes after which random rows are beyond the bound, and the other ones needn't be read. A
  /// nibble of a random row differs by 2 bits with a variance of 1, so c planes give 2c - 3.5
  /// sqrt(c) or more for all but one in 4000 rows.
  int planes(int bound, int all) const {
    if (tried > 1024 && failed > tried / 4) return all;
    const double root = (3.5 + std::sqrt(12.25 + 8.0 * bound)) / 4;
    const int even = int(root * root / 2 + 1) * 2;
    return even <= all - 2 ? even : all;
  }
};

using ByteTag = hn::ScalableTag<std::uint8_t>;
using ByteVector = hn::Vec<ByteTag>;

/// Sums of four vectors of rows: as many blocks as that makes. Four share the load of a table, and
/// still leave registers free; named, because GCC keeps an array of them in memory.
struct NibbleSums {
  HWY_INLINE NibbleSums() : a(hn::Zero(ByteTag())), b(a), c(a), d(a) {}
  ByteVector a, b, c, d;

  /// Adds planes [begin, end) of the blocks at `blocks`.
  HWY_INLINE void add(const std::uint8_t* blocks, int planes, const std::uint8_t* tables, int begin,
                      int end) {
    const ByteTag tag;
    const auto vector = [&](std::size_t i) {
      const std::size_t row = i * hn::Lanes(tag);
      return blocks + row / kRows * kRows * std::size_t(planes) + row % kRows;
    };
    const std::uint8_t *at_a = vector(0), *at_b = vector(1), *at_c = vector(2), *at_d = vector(3);
    // Copies of our own, for the same reason.
    auto sum_a = a, sum_b = b, sum_c = c, sum_d = d;
    for (int p = begin; p < end; ++p) {
      const auto table = hn::LoadDup128(tag, tables + 16 * p);
      const auto plane = std::size_t(p) * kRows;
      const auto distances = [&](const std::uint8_t* nibbles) HWY_ATTR {
        return hn::TableLookupBytes(table, hn::LoadU(tag, nibbles + plane));
      };
      sum_a = hn::SaturatedAdd(sum_a, distances(at_a));
      sum_b = hn::SaturatedAdd(sum_b, distances(at_b));
      sum_c = hn::SaturatedAdd(sum_c, distances(at_c));
      sum_d = hn::SaturatedAdd(sum_d, distances(at_d));
    }
    a = sum_a, b = sum_b, c = sum_c, d = sum_d;
  }

  HWY_INLINE bool any_up_to(ByteVector most) const {
    const auto least = hn::Min(hn::Min(a, b), hn::Min(c, d));
    return !hn::AllFalse(ByteTag(), hn::Eq(hn::Min(least, most), least));
  }

  HWY_INLINE void store(std::uint8_t* bytes) const {
    const ByteTag tag;
    const std::size_t lanes = hn::Lanes(tag);
    hn::StoreU(a, tag, bytes);
    hn::StoreU(b, tag, bytes + lanes);
    hn::StoreU(c, tag, bytes + 2 * lanes);
    hn::StoreU(d, tag, bytes + 3 * lanes);
  }
};

/// Which of 64 bytes are at most `most`, byte i in bit i.
HWY_INLINE std::uint64_t bytes_up_to(ByteVector most, const std::uint8_t* bytes) {
  const ByteTag tag;
  std::uint64_t hits = 0;
  for (std::size_t r = 0; r < kRows; r += hn::Lanes(tag)) {
    const auto v = hn::LoadU(tag, bytes + r);
    std::uint8_t bits[8] = {};
    hn::StoreMaskBits(tag, hn::Eq(hn::Min(v, most), v), bits);
    std::uint64_t mask;
    std::memcpy(&mask, bits, 8);
    hits |= mask << r;
  }
  return hits;
}

/// The same as scan_words for blocks by nibbles, whose number is a multiple of kGroupBlocks. The
/// sums are bytes that saturate at 255; where that could matter (codes of more than 248 bits,
/// before the bound has come down) `exact(block, row)` is asked.
template <class Found, class Exact>
HWY_INLINE void scan_nibbles(const std::uint8_t* blocks, std::int64_t count, int planes,
                             const std::uint8_t* tables, const int& bound, EarlyCheck& early,
                             Exact&& exact, Found&& found) {
  const ByteTag tag;
  const auto together = std::int64_t(4 * hn::Lanes(tag) / kRows);
  const int check = early.planes(bound, planes);
  if (check < planes) early.tried += count / together;
  auto most = hn::Set(tag, std::uint8_t(std::min(bound, 256) - 1));
  for (std::int64_t first = 0; first < count && bound > 0; first += together) {
    const std::uint8_t* these = blocks + first * planes * kBlockRows;
    NibbleSums sums;
    sums.add(these, planes, tables, 0, check);
    if (HWY_LIKELY(!sums.any_up_to(most))) continue;
    if (check < planes) {
      ++early.failed;
      sums.add(these, planes, tables, check, planes);
      if (HWY_LIKELY(!sums.any_up_to(most))) continue;
    }
    HWY_ALIGN std::uint8_t bytes[kGroupBlocks * kRows];
    sums.store(bytes);
    for (std::int64_t b = 0; b < together && bound > 0; ++b) {
      const std::uint8_t* row_bytes = bytes + b * kBlockRows;
      if (bound <= 255) {
        found(first + b, bytes_up_to(most, row_bytes), row_bytes);
        continue;
      }
      std::uint16_t distances[kRows];
      for (std::size_t r = 0; r < kRows; ++r) {
        distances[r] = row_bytes[r] == 255 ? exact(first + b, r) : row_bytes[r];
      }
      found(first + b, ~std::uint64_t{0}, distances);
    }
    most = hn::Set(tag, std::uint8_t(std::min(bound, 256) - 1));
  }
}

#endif

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
