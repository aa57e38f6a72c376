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

/// Scans rows [s.row_begin, s.row_end) for all queries of s, tile by tile. take(query, row,
/// distance) gets the allowed rows nearer than bounds(query), in order of rows; it may lower them.
template <class Bounds, class Take>
HWY_INLINE void scan_rows(const ScanRows& s, Bounds&& bounds, Take&& take) {
  const int bytes = (s.bits + 7) / 8, planes = 2 * bytes;
  const bool nibbles = s.tables != nullptr;
  const std::int64_t tile = tile_rows(s.bits, nibbles);
#if HWY_TARGET != HWY_SCALAR
  EarlyCheck early;
#endif
  for (std::int64_t first = s.row_begin; first < s.row_end; first += tile) {
    const std::int64_t rows = std::min(tile, s.row_end - first);
    std::int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
    const std::uint64_t* from = s.database + first * s.words;
    auto* by_words = static_cast<std::uint64_t*>(s.tile);
    auto* by_nibbles = static_cast<std::uint8_t*>(s.tile);
    // Blocks of one word are in the wanted order already; others are worth transposing where more
    // than a few queries look at them.
    const bool as_it_is = !nibbles && rows % kBlockRows == 0 &&
                          (s.words == 1 || (takes_rows(s.words) && s.query_count <= kFewQueries));
    if (nibbles) {
      // Blocks without rows complete the last group.
      blocks = (blocks + kGroupBlocks - 1) / kGroupBlocks * kGroupBlocks;
      for (std::int64_t b = 0; b < blocks; ++b) {
        nibble_block(from + b * kBlockRows * s.words, rows - b * kBlockRows, s.words, bytes,
                     by_nibbles + b * kBlockRows * planes);
      }
    } else if (!as_it_is) {
      const std::int64_t full = rows / kBlockRows, block_words = kBlockRows * s.words;
      with_words(s.words, [&](auto words) HWY_ATTR {
        for (std::int64_t b = 0; b < full; ++b) {
          full_word_block<words>(from + b * block_words, by_words + b * block_words);
        }
      });
      if (full < blocks) {
        word_block(from + full * block_words, rows - full * kBlockRows, s.words,
                   by_words + full * block_words);
      }
    }
    for (std::int64_t q = 0; q < s.query_count; ++q) {
      const std::uint64_t* query = s.queries + q * s.words;
      const int& bound = bounds(q);
      const auto found = [&](std::int64_t b, std::uint64_t hits, const auto* distances) {
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
        const auto exact = [&](std::int64_t b, std::size_t r) {
          const std::int64_t row = b * kBlockRows + std::int64_t(r);
          if (row >= rows) return std::uint16_t{0};
          return std::uint16_t(row_distance(from + row * s.words, query, s.words));
        };
        scan_nibbles(by_nibbles, blocks, planes, s.tables + q * planes * 16, bound, early, exact,
                     found);
        continue;
      }
#endif
      with_words(s.words, [&](auto words) HWY_ATTR {
        if constexpr (takes_rows(words)) {
          if (as_it_is) return scan_words<words, Layout::kByRow>(from, blocks, query, bound, found);
        }
        scan_words<words, Layout::kByWord>(by_words, blocks, query, bound, found);
      });
    }
  }
}

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
