// SPDX-License-Identifier: Apache-2.0
// A scan of some rows for some queries that reports the rows nearer than a bound, by words or by
// nibbles.
// Included inside HWY_BEFORE_NAMESPACE, once per target, hence the toggled guard.
#if defined(HH_KERNELS_HAMMING_SCAN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HH_KERNELS_HAMMING_SCAN_INL_H_
#undef HH_KERNELS_HAMMING_SCAN_INL_H_
#else
#define HH_KERNELS_HAMMING_SCAN_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/hamming/blocks.h"
#include "kernels/hamming/scan.h"
#include "kernels/hamming/scan_nibbles-inl.h"
#include "kernels/hamming/scan_words-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Queries for which transposing rows isn't worth it.
constexpr std::int64_t kFewQueries = 2;
constexpr bool kPrefersNibbles = HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3;

#if HWY_TARGET != HWY_SCALAR
/// Writes rows at `from` into the tile by nibbles; returns of how many blocks it is.
HWY_INLINE std::int64_t nibble_tile(const ScanRows& s, const std::uint64_t* from,
                                    std::int64_t rows) {
  const int bytes = (s.bits + 7) / 8;
  const std::int64_t together = blocks_together(), stride = together * kBlockRows;
  const auto block = [&](std::int64_t b) HWY_ATTR {
    return static_cast<std::uint8_t*>(s.tile) + b / together * stride * 2 * bytes +
           b % together * kBlockRows;
  };
  std::int64_t b = 0;
  with_words(s.words, [&](auto words) HWY_ATTR {
    for (; (b + 1) * kBlockRows <= rows; ++b) {
      full_nibble_block<words>(from + b * kBlockRows * words, bytes, stride, block(b));
    }
  });
  // Blocks without rows complete the last group.
  for (; b * kBlockRows < rows || b % together != 0; ++b) {
    nibble_block(from + b * kBlockRows * s.words, rows - b * kBlockRows, s.words, bytes, stride,
                 block(b));
  }
  return b;
}
#endif

/// The same by words.
HWY_INLINE std::int64_t word_tile(const ScanRows& s, const std::uint64_t* from, std::int64_t rows) {
  auto* const tile = static_cast<std::uint64_t*>(s.tile);
  const std::int64_t full = rows / kBlockRows, left = rows % kBlockRows;
  const std::int64_t block_words = kBlockRows * s.words;
  with_words(s.words, [&](auto words) HWY_ATTR {
    for (std::int64_t b = 0; b < full; ++b) {
      full_word_block<words>(from + b * block_words, tile + b * block_words);
    }
  });
  if (left > 0) word_block(from + full * block_words, left, s.words, tile + full * block_words);
  return full + (left > 0);
}

/// Scans rows [s.row_begin, s.row_end) for all queries of s, tile by tile. take(query, row,
/// distance) gets the allowed rows nearer than bounds(query), in order of rows; it may lower them.
template <class Bounds, class Take>
HWY_INLINE void scan_rows(const ScanRows& s, Bounds&& bounds, Take&& take) {
  const bool nibbles = s.tables != nullptr;
  const std::int64_t tile = tile_rows(s.bits, nibbles);
  const bool streams = s.query_count == 1 && takes_rows(s.words) && reads_streams(s);
  EarlyCheck early;
  std::int64_t rows = 0;
  for (std::int64_t first = s.row_begin; first < s.row_end; first += rows) {
    rows = std::min(tile, s.row_end - first);
    // After the first tile, by which bounds are near what they will be.
    if (streams && first > s.row_begin && s.row_end - first >= stream_rows(s.words)) {
      rows = stream_rows(s.words);
    }
    const std::uint64_t* from = s.database + first * s.words;
    // Blocks of one word are in the wanted order already; others are worth transposing where more
    // than a few queries look at them.
    const bool as_it_is = !nibbles && rows % kBlockRows == 0 &&
                          (s.words == 1 || (takes_rows(s.words) && s.query_count <= kFewQueries));
    std::int64_t blocks = rows / kBlockRows;
    if (!nibbles && !as_it_is) blocks = word_tile(s, from, rows);
#if HWY_TARGET != HWY_SCALAR
    if (nibbles) blocks = nibble_tile(s, from, rows);
#endif
    for (std::int64_t q = 0; q < s.query_count; ++q) {
      const std::uint64_t* query = s.queries + q * s.words;
      const int& bound = bounds(q);
      const auto found = [&](std::int64_t b, std::uint64_t hits, const auto* distances) HWY_ATTR {
        const std::int64_t block_row = first + b * kBlockRows, left = s.row_end - block_row;
        if (left < kBlockRows) hits &= left > 0 ? (std::uint64_t{1} << left) - 1 : 0;
        if (s.allowed != nullptr && hits != 0) hits &= s.allowed[block_row / kBlockRows];
        for (; hits != 0; hits &= hits - 1) {
          const int r = std::countr_zero(hits);
          if (distances[r] < bound) take(q, block_row + r, distances[r]);
        }
      };
#if HWY_TARGET != HWY_SCALAR
      if (nibbles) {
        const auto exact = [&](std::int64_t b, std::size_t r) HWY_ATTR {
          const std::int64_t row = b * kBlockRows + std::int64_t(r);
          if (row >= rows) return std::uint16_t{0};
          return std::uint16_t(row_distance(from + row * s.words, query, s.words));
        };
        scan_nibbles(static_cast<const std::uint8_t*>(s.tile), blocks, 2 * ((s.bits + 7) / 8),
                     s.tables + q * std::int64_t(table_bytes(s.bits)), bound, early, exact, found);
        continue;
      }
#endif
      with_words(s.words, [&](auto words) HWY_ATTR {
        if constexpr (takes_rows(words)) {
          if (as_it_is && s.query_count <= kFewQueries) {
            return scan_words<words, Layout::kByRow>(from, blocks, query, bound, early, found);
          }
        }
        const auto* by_words = as_it_is ? from : static_cast<const std::uint64_t*>(s.tile);
        scan_words<words, Layout::kByWord>(by_words, blocks, query, bound, early, found);
      });
    }
  }
}

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
