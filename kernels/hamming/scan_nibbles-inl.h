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
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/hamming/blocks.h"
#include "kernels/hamming/early_check.h"
#include "kernels/hamming/scan_words-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR  // which has no table lookup

using ByteTag = hn::ScalableTag<std::uint8_t>;
using ByteVector = hn::Vec<ByteTag>;

/// Of a group, whose rows lie together plane by plane.
HWY_INLINE std::int64_t blocks_together() { return std::int64_t(4 * hn::Lanes(ByteTag()) / kRows); }

/// Sums of four vectors of rows, which are a group: as many blocks as that makes. Four share the load
/// of a table, and still leave registers free; named, because GCC keeps an array of them in memory.
struct NibbleSums {
  HWY_INLINE NibbleSums() : a(hn::Zero(ByteTag())), b(a), c(a), d(a) {}
  ByteVector a, b, c, d;

  /// Adds planes [begin, end) of a group's rows, an even number of each.
  HWY_INLINE void add(const std::uint8_t* group, const std::uint8_t* tables, int begin, int end) {
    const ByteTag tag;
    const std::size_t lanes = hn::Lanes(tag);
    // Copies of our own, for the same reason.
    auto sum_a = a, sum_b = b, sum_c = c, sum_d = d;
    // Both nibbles of a byte.
    const std::uint8_t* at = group + std::size_t(begin) * 4 * lanes;
    for (int p = begin; p < end; p += 2, at += 8 * lanes) {
      const auto low = hn::LoadDup128(tag, tables + 16 * p);
      const auto high = hn::LoadDup128(tag, tables + 16 * p + 16);
      // Two lookups are at most 8.
      const auto distances = [&](std::size_t i) HWY_ATTR {
        return hn::Add(hn::TableLookupBytes(low, hn::LoadU(tag, at + i * lanes)),
                       hn::TableLookupBytes(high, hn::LoadU(tag, at + (4 + i) * lanes)));
      };
      sum_a = hn::SaturatedAdd(sum_a, distances(0));
      sum_b = hn::SaturatedAdd(sum_b, distances(1));
      sum_c = hn::SaturatedAdd(sum_c, distances(2));
      sum_d = hn::SaturatedAdd(sum_d, distances(3));
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

/// The rows of `together` blocks that are near by the first planes, looked at one by one. False where
/// they are too many for that.
template <class Found, class Exact>
HWY_INLINE bool found_one_by_one(const NibbleSums& sums, ByteVector most, std::int64_t first,
                                 std::int64_t together, Exact&& exact, Found&& found) {
  constexpr int kFew = 8;
  HWY_ALIGN std::uint8_t bytes[kGroupBlocks * kRows];
  sums.store(bytes);
  std::uint64_t hits[kGroupBlocks];
  int count = 0;
  for (std::int64_t b = 0; b < together; ++b) {
    hits[b] = bytes_up_to(most, bytes + b * kBlockRows);
    count += std::popcount(hits[b]);
  }
  if (count > kFew) return false;
  std::uint16_t distances[kRows];
  for (std::int64_t b = 0; b < together; ++b) {
    if (hits[b] == 0) continue;
    for (std::uint64_t left = hits[b]; left != 0; left &= left - 1) {
      const int r = std::countr_zero(left);
      distances[r] = exact(first + b, std::size_t(r));
    }
    found(first + b, hits[b], distances);
  }
  return true;
}

/// The same as scan_words for blocks by nibbles, whose number is a multiple of blocks_together(). The
/// sums are bytes that saturate at 255; where that could matter (codes of more than 248 bits,
/// before the bound has come down) `exact(block, row)` is asked, and where few rows are near.
template <class Found, class Exact>
HWY_INLINE void scan_nibbles(const std::uint8_t* blocks, std::int64_t count, int planes,
                             const std::uint8_t* tables, const int& bound, EarlyCheck& early,
                             Exact&& exact, Found&& found) {
  const ByteTag tag;
  const std::int64_t together = blocks_together();
  const int check = early.first_planes(bound, planes);
  if (check < planes) early.tried += count / together;
  auto most = hn::Set(tag, std::uint8_t(std::min(bound, 256) - 1));
  for (std::int64_t first = 0; first < count && bound > 0; first += together) {
    const std::uint8_t* these = blocks + first * planes * kBlockRows;
    NibbleSums sums;
    sums.add(these, tables, 0, check);
    if (HWY_LIKELY(!sums.any_up_to(most))) continue;
    if (check < planes) {
      ++early.failed;
      if (HWY_LIKELY(found_one_by_one(sums, most, first, together, exact, found))) {
        most = hn::Set(tag, std::uint8_t(std::min(bound, 256) - 1));
        continue;
      }
      sums.add(these, tables, check, planes);
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

/// nibble_block() of 64 rows.
template <int W>
HWY_INLINE void full_nibble_block(const std::uint64_t* from, int bytes, std::int64_t stride,
                                  std::uint8_t* to) {
  const hn::ScalableTag<std::uint64_t> d;
  const ByteTag tag;
  // A 128-bit block of a vector takes 16 rows.
  const std::size_t rows = 8 * hn::Lanes(d);
  for (std::size_t r = 0; r < kRows; r += rows) {
    for (int w = 0; w < W; ++w) {
      ByteVector x[8];  // [i]: word w of rows 2 i and 2 i + 1
      for (std::size_t i = 0; i < 8; ++i) {
        x[i] = hn::BitCast(tag, word_of_row_pairs<W>(d, from + (r + 2 * i) * W, w));
      }
      // Byte b of word w of row 2 i + j is byte 8 j + b of x[i]. Each round turns these seven bits of
      // its place by one; after four of them it's byte 2 i + j of x[b].
      for (int round = 0; round < 4; ++round) {
        ByteVector y[8];
        for (std::size_t i = 0; i < 4; ++i) {
          y[2 * i] = hn::InterleaveLower(tag, x[i], x[i + 4]);
          y[2 * i + 1] = hn::InterleaveUpper(tag, x[i], x[i + 4]);
        }
        std::copy(y, y + 8, x);
      }
      for (int b = 0; b < 8 && 8 * w + b < bytes; ++b) {
        std::uint8_t* plane = to + 2 * (8 * w + b) * stride + r;
        const auto low = hn::Set(tag, std::uint8_t{0x0f});
        const hn::Repartition<std::uint16_t, ByteTag> d16;
        hn::StoreU(hn::And(x[b], low), tag, plane);
        const auto high = hn::BitCast(tag, hn::ShiftRight<4>(hn::BitCast(d16, x[b])));
        hn::StoreU(hn::And(high, low), tag, plane + stride);
      }
    }
  }
}

#endif

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
