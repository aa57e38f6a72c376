// Distances of blocks of 64 rows to a query, and a scan that reports the rows nearer than a bound.
// Included inside HWY_BEFORE_NAMESPACE, once per target, hence the toggled guard.
//
// Two ways to count bits. By words: XOR and a population count of each 64-bit word, which AVX-512
// has an instruction for (AVX3_DL). By nibbles: one table lookup of 16 entries per nibble, where
// the table already knows the query's nibble, so that a lookup and an addition deal with 4 bits of
// 32 rows (AVX2) or 64; the nibbles of a tile are unpacked once for all queries of a group.
#if defined(HH_KERNELS_HAMMING_SCAN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HH_KERNELS_HAMMING_SCAN_INL_H_
#undef HH_KERNELS_HAMMING_SCAN_INL_H_
#else
#define HH_KERNELS_HAMMING_SCAN_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "kernels/hamming/blocks.h"
#include "kernels/hamming/scan.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using WordTag = hn::ScalableTag<std::uint64_t>;
using WordVector = hn::Vec<WordTag>;
constexpr std::size_t kRows = std::size_t(kBlockRows);
constexpr bool kPrefersNibbles = HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3;

/// The words of a query, each in all lanes.
template <int W>
struct BroadcastQuery {
  explicit HWY_INLINE BroadcastQuery(const std::uint64_t* query) {
    for (int w = 0; w < W; ++w) words[w] = hn::Set(WordTag(), query[w]);
  }
  WordVector words[W];
};

/// Distances of rows r, r + 1, ... (one a lane) of a block by words.
template <int W>
HWY_INLINE WordVector row_distances(const BroadcastQuery<W>& query, const std::uint64_t* block,
                                    std::size_t r) {
  const WordTag d;
  const auto differing = [&](int w) HWY_ATTR {
    return hn::Xor(query.words[w], hn::LoadU(d, block + std::size_t(w) * kRows + r));
  };
#if HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_SCALAR
  auto sum = hn::PopulationCount(differing(0));
  for (int w = 1; w < W; ++w) sum = hn::Add(sum, hn::PopulationCount(differing(w)));
  return sum;
#else
  const hn::Repartition<std::uint8_t, WordTag> bytes;
  auto sum = hn::PopulationCount(hn::BitCast(bytes, differing(0)));
  // At most 8 words of 8 set bits a byte.
  for (int w = 1; w < W; ++w) {
    sum = hn::Add(sum, hn::PopulationCount(hn::BitCast(bytes, differing(w))));
  }
  return hn::SumsOf8(sum);
#endif
}

/// Lanes hold small numbers, so they may be compared as signed ones, and their minimum taken by
/// 32-bit halves: AVX2 has no unsigned comparison and no minimum of 64 bits.
HWY_INLINE WordVector smaller(WordVector a, WordVector b) {
#if HWY_TARGET == HWY_SCALAR
  return hn::Min(a, b);
#else
  const hn::Repartition<std::uint32_t, WordTag> halves;
  return hn::BitCast(WordTag(), hn::Min(hn::BitCast(halves, a), hn::BitCast(halves, b)));
#endif
}
HWY_INLINE auto below(WordVector a, WordVector limit) {
  const hn::RebindToSigned<WordTag> d;
  return hn::Lt(hn::BitCast(d, a), hn::BitCast(d, limit));
}

/// All 64 distances of a block by words; returns which are below `bound`, row r in bit r.
template <int W>
HWY_INLINE std::uint64_t block_distances(const BroadcastQuery<W>& query, const std::uint64_t* block,
                                         int bound, std::uint16_t* distances) {
  const WordTag d;
  const hn::RebindToSigned<WordTag> signed_words;
  const hn::Rebind<std::uint16_t, WordTag> d16;
  const auto limit = hn::Set(d, std::uint64_t(bound));
  std::uint64_t hits = 0;
  for (std::size_t r = 0; r < kRows; r += hn::Lanes(d)) {
    const auto distance = row_distances(query, block, r);
    hn::StoreU(hn::TruncateTo(d16, distance), d16, distances + r);
    std::uint8_t bits[8] = {};
    hn::StoreMaskBits(signed_words, below(distance, limit), bits);
    hits |= std::uint64_t{bits[0]} << r;
  }
  return hits;
}

/// found(block, hits, distances) for every block with a row nearer than `bound`, which found() may
/// lower. Ends early when nothing can be nearer.
template <int W, class Found>
HWY_INLINE void scan_words(const std::uint64_t* blocks, std::int64_t count,
                           const std::uint64_t* query_words, const int& bound, Found&& found) {
  const WordTag d;
  const hn::RebindToSigned<WordTag> signed_words;
  const BroadcastQuery<W> query(query_words);
  auto limit = hn::Set(d, std::uint64_t(bound));
  for (std::int64_t b = 0; b < count && bound > 0; ++b) {
    const std::uint64_t* block = blocks + b * W * kBlockRows;
    auto least = row_distances(query, block, 0);
    for (std::size_t r = hn::Lanes(d); r < kRows; r += hn::Lanes(d)) {
      least = smaller(least, row_distances(query, block, r));
    }
    if (HWY_LIKELY(hn::AllFalse(signed_words, below(least, limit)))) continue;
    HWY_ALIGN std::uint16_t distances[kRows];
    const std::uint64_t hits = block_distances(query, block, bound, distances);
    found(b, hits, distances);
    limit = hn::Set(d, std::uint64_t(bound));
  }
}

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

/// Adds up planes [begin, end) of kBlocks blocks by nibbles.
template <int kBlocks, class D>
HWY_INLINE void add_planes(D d, const std::uint8_t* blocks, int planes, const std::uint8_t* tables,
                           int begin, int end, hn::Vec<D>* sums) {
  const std::size_t lanes = hn::Lanes(d), vectors = kRows / lanes;
  for (int p = begin; p < end; ++p) {
    const auto table = hn::LoadDup128(d, tables + 16 * p);
    for (int b = 0; b < kBlocks; ++b) {
      const std::uint8_t* plane = blocks + (b * planes + p) * kBlockRows;
      for (std::size_t i = 0; i < vectors; ++i) {
        auto& sum = sums[std::size_t(b) * vectors + i];
        sum = hn::SaturatedAdd(sum, hn::TableLookupBytes(table, hn::LoadU(d, plane + i * lanes)));
      }
    }
  }
}

/// Whether any of the sums is at most `most`.
template <class D>
HWY_INLINE bool any_up_to(D d, hn::Vec<D> most, const hn::Vec<D>* sums, std::size_t count) {
  auto least = sums[0];
  for (std::size_t i = 1; i < count; ++i) least = hn::Min(least, sums[i]);
  return !hn::AllFalse(d, hn::Eq(hn::Min(least, most), least));
}

/// Blocks `first` to first + kBlocks - 1 of a scan by nibbles.
template <int kBlocks, class Found, class Exact>
HWY_INLINE void scan_nibble_blocks(const std::uint8_t* blocks, std::int64_t first, int planes,
                                   const std::uint8_t* tables, const int& bound, int check,
                                   EarlyCheck& early, Exact&& exact, Found&& found) {
  const hn::ScalableTag<std::uint8_t> d;
  constexpr std::size_t kMaxVectors = kBlocks * kRows / 16;
  const std::size_t lanes = hn::Lanes(d), vectors = kBlocks * kRows / lanes;
  const std::uint8_t* these = blocks + first * planes * kBlockRows;
  const auto most = hn::Set(d, std::uint8_t(std::min(bound, 256) - 1));
  hn::Vec<decltype(d)> sums[kMaxVectors];
  for (std::size_t i = 0; i < vectors; ++i) sums[i] = hn::Zero(d);
  add_planes<kBlocks>(d, these, planes, tables, 0, check, sums);
  if (HWY_LIKELY(!any_up_to(d, most, sums, vectors))) return;
  if (check < planes) {
    ++early.failed;
    add_planes<kBlocks>(d, these, planes, tables, check, planes, sums);
    if (HWY_LIKELY(!any_up_to(d, most, sums, vectors))) return;
  }
  for (int b = 0; b < kBlocks && bound > 0; ++b) {
    HWY_ALIGN std::uint8_t bytes[kRows];
    std::uint64_t hits = 0;
    for (std::size_t r = 0; r < kRows; r += lanes) {
      const auto sum = sums[(std::size_t(b) * kRows + r) / lanes];
      hn::StoreU(sum, d, bytes + r);
      std::uint8_t bits[8] = {};
      hn::StoreMaskBits(d, hn::Eq(hn::Min(sum, most), sum), bits);
      std::uint64_t mask;
      std::memcpy(&mask, bits, 8);
      hits |= mask << r;
    }
    if (bound <= 255) {
      if (hits != 0) found(first + b, hits, bytes);
      continue;
    }
    HWY_ALIGN std::uint16_t distances[kRows];
    for (std::size_t r = 0; r < kRows; ++r) {
      distances[r] = bytes[r] == 255 ? exact(first + b, r) : bytes[r];
    }
    found(first + b, ~std::uint64_t{0}, distances);
  }
}

/// The same as scan_words for blocks by nibbles. The sums are bytes that saturate at 255; where
/// that could matter (codes of more than 248 bits, before the bound has come down) `exact(block,
/// row)` is asked.
template <class Found, class Exact>
HWY_INLINE void scan_nibbles(const std::uint8_t* blocks, std::int64_t count, int planes,
                             const std::uint8_t* tables, const int& bound, EarlyCheck& early,
                             Exact&& exact, Found&& found) {
  constexpr int kTogether = 2;  // blocks that share the loads of a table
  const int check = early.planes(bound, planes);
  if (check < planes) early.tried += count / kTogether;
  std::int64_t b = 0;
  for (; b + kTogether <= count && bound > 0; b += kTogether) {
    scan_nibble_blocks<kTogether>(blocks, b, planes, tables, bound, check, early, exact, found);
  }
  for (; b < count && bound > 0; ++b) {
    scan_nibble_blocks<1>(blocks, b, planes, tables, bound, check, early, exact, found);
  }
}

#endif

/// Calls scan_words with the number of words as a constant.
template <class Found>
HWY_INLINE void scan_words(const std::uint64_t* blocks, std::int64_t count, int words,
                           const std::uint64_t* query, const int& bound, Found&& found) {
  switch (words) {
    case 1:
      return scan_words<1>(blocks, count, query, bound, found);
    case 2:
      return scan_words<2>(blocks, count, query, bound, found);
    case 3:
      return scan_words<3>(blocks, count, query, bound, found);
    case 4:
      return scan_words<4>(blocks, count, query, bound, found);
    case 5:
      return scan_words<5>(blocks, count, query, bound, found);
    case 6:
      return scan_words<6>(blocks, count, query, bound, found);
    case 7:
      return scan_words<7>(blocks, count, query, bound, found);
    case 8:
      return scan_words<8>(blocks, count, query, bound, found);
    default:
      assert(!"more than 8 words");
  }
}

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
    const std::int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
    const std::uint64_t* from = s.database + first * s.words;
    auto* by_words = static_cast<std::uint64_t*>(s.tile);
    auto* by_nibbles = static_cast<std::uint8_t*>(s.tile);
    // Whole blocks of one word are in the wanted order already.
    const bool as_it_is = !nibbles && s.words == 1 && rows % kBlockRows == 0;
    for (std::int64_t b = 0; b < blocks && !as_it_is; ++b) {
      const std::int64_t in_block = std::min(kBlockRows, rows - b * kBlockRows);
      const std::uint64_t* block = from + b * kBlockRows * s.words;
      if (nibbles) {
        nibble_block(block, in_block, s.words, bytes, by_nibbles + b * kBlockRows * planes);
      } else {
        word_block(block, in_block, s.words, by_words + b * kBlockRows * s.words);
      }
    }
    for (std::int64_t q = 0; q < s.query_count; ++q) {
      const std::uint64_t* query = s.queries + q * s.words;
      const int& bound = bounds(q);
      const auto found = [&](std::int64_t b, std::uint64_t hits, const auto* distances) {
        const std::int64_t block_row = first + b * kBlockRows, left = s.row_end - block_row;
        if (left < kBlockRows) hits &= (std::uint64_t{1} << left) - 1;
        if (s.allowed != nullptr) hits &= s.allowed[block_row / kBlockRows];
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
      scan_words(as_it_is ? from : by_words, blocks, s.words, query, bound, found);
    }
  }
}

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
