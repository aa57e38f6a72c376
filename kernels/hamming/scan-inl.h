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
#include <type_traits>

#include "kernels/hamming/blocks.h"
#include "kernels/hamming/scan.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using WordTag = hn::ScalableTag<std::uint64_t>;
using WordVector = hn::Vec<WordTag>;
constexpr std::size_t kRows = std::size_t(kBlockRows);
constexpr std::int64_t kFewQueries = 2;
constexpr bool kPrefersNibbles = HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3;

/// The words of a query, each in all lanes.
template <int W>
struct BroadcastQuery {
  explicit HWY_INLINE BroadcastQuery(const std::uint64_t* query) {
    for (int w = 0; w < W; ++w) words[w] = hn::Set(WordTag(), query[w]);
  }
  WordVector words[W];
};

/// How the words of 64 rows lie: in a block by words, or as in the database.
enum class Layout { kByWord, kByRow };

/// Word w of rows r, r + 1, ... (one a lane) for all w.
template <int W, Layout kLayout>
HWY_INLINE void load_words(const std::uint64_t* block, std::size_t r, WordVector (&words)[W]) {
  const WordTag d;
  if constexpr (kLayout == Layout::kByWord || W == 1) {
    for (std::size_t w = 0; w < W; ++w) words[w] = hn::LoadU(d, block + w * kRows + r);
  } else {
    const std::uint64_t* rows = block + r * W;
    static_assert(W <= 4, "no instruction takes more words apart");
    if constexpr (W == 2) hn::LoadInterleaved2(d, rows, words[0], words[1]);
    if constexpr (W == 3) hn::LoadInterleaved3(d, rows, words[0], words[1], words[2]);
    if constexpr (W == 4) hn::LoadInterleaved4(d, rows, words[0], words[1], words[2], words[3]);
  }
}

/// Distances of rows r, r + 1, ... (one a lane).
template <int W, Layout kLayout = Layout::kByWord>
HWY_INLINE WordVector row_distances(const BroadcastQuery<W>& query, const std::uint64_t* block,
                                    std::size_t r) {
  WordVector words[W];
  load_words<W, kLayout>(block, r, words);
  const auto differing = [&](int w) HWY_ATTR { return hn::Xor(query.words[w], words[w]); };
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

/// Whether scans can read rows as they lie in the database.
constexpr bool takes_rows(int words) {
  return words == 1 || (words <= 4 && HWY_TARGET != HWY_SCALAR);
}

/// word_block() of 64 rows, by the shuffles of the instruction set where there are some.
template <int W>
HWY_INLINE void full_word_block(const std::uint64_t* from, std::uint64_t* to) {
  const WordTag d;
  if constexpr (takes_rows(W)) {
    for (std::size_t r = 0; r < kRows; r += hn::Lanes(d)) {
      WordVector words[W];
      load_words<W, Layout::kByRow>(from, r, words);
      for (std::size_t w = 0; w < W; ++w) hn::StoreU(words[w], d, to + w * kRows + r);
    }
  } else {
    for (std::size_t r = 0; r < kRows; ++r) {
      for (std::size_t w = 0; w < W; ++w) to[w * kRows + r] = from[r * W + w];
    }
  }
}

/// The distances of 64 rows; returns which are below `bound`, row r in bit r.
template <int W, Layout kLayout>
HWY_INLINE std::uint64_t block_distances(const BroadcastQuery<W>& query, const std::uint64_t* block,
                                         int bound, std::uint16_t* distances) {
  const WordTag d;
  const hn::RebindToSigned<WordTag> signed_words;
  const hn::Rebind<std::uint16_t, WordTag> d16;
  const auto limit = hn::Set(d, std::uint64_t(bound));
  std::uint64_t hits = 0;
  for (std::size_t r = 0; r < kRows; r += hn::Lanes(d)) {
    const auto distance = row_distances<W, kLayout>(query, block, r);
    hn::StoreU(hn::TruncateTo(d16, distance), d16, distances + r);
    std::uint8_t bits[8] = {};
    hn::StoreMaskBits(signed_words, below(distance, limit), bits);
    hits |= std::uint64_t{bits[0]} << r;
  }
  return hits;
}

/// found(block, hits, distances) for every block with a row nearer than `bound`, which found() may
/// lower. Ends early when nothing can be nearer.
template <int W, Layout kLayout, class Found>
HWY_INLINE void scan_words(const std::uint64_t* blocks, std::int64_t count,
                           const std::uint64_t* query_words, const int& bound, Found&& found) {
  const WordTag d;
  const hn::RebindToSigned<WordTag> signed_words;
  const BroadcastQuery<W> query(query_words);
  auto limit = hn::Set(d, std::uint64_t(bound));
  for (std::int64_t b = 0; b < count && bound > 0; ++b) {
    const std::uint64_t* block = blocks + b * W * kBlockRows;
    auto least = row_distances<W, kLayout>(query, block, 0);
    for (std::size_t r = hn::Lanes(d); r < kRows; r += hn::Lanes(d)) {
      least = smaller(least, row_distances<W, kLayout>(query, block, r));
    }
    if (HWY_LIKELY(hn::AllFalse(signed_words, below(least, limit)))) continue;
    HWY_ALIGN std::uint16_t distances[kRows];
    const std::uint64_t hits = block_distances<W, kLayout>(query, block, bound, distances);
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

/// Calls f with `words` as a constant, std::integral_constant<int, words>.
template <class F>
HWY_INLINE void with_words(int words, F&& f) {
  switch (words) {
    case 1:
      return f(std::integral_constant<int, 1>());
    case 2:
      return f(std::integral_constant<int, 2>());
    case 3:
      return f(std::integral_constant<int, 3>());
    case 4:
      return f(std::integral_constant<int, 4>());
    case 5:
      return f(std::integral_constant<int, 5>());
    case 6:
      return f(std::integral_constant<int, 6>());
    case 7:
      return f(std::integral_constant<int, 7>());
    case 8:
      return f(std::integral_constant<int, 8>());
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
