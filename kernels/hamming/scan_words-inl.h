// SPDX-License-Identifier: Apache-2.0
// Distances by words: XOR and a population count of each 64-bit word, which AVX-512 has an
// instruction for (AVX3_DL).
// Included inside HWY_BEFORE_NAMESPACE, once per target, hence the toggled guard.
#if defined(HH_KERNELS_HAMMING_SCAN_WORDS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HH_KERNELS_HAMMING_SCAN_WORDS_INL_H_
#undef HH_KERNELS_HAMMING_SCAN_WORDS_INL_H_
#else
#define HH_KERNELS_HAMMING_SCAN_WORDS_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <type_traits>

#include "kernels/hamming/blocks.h"
#include "kernels/hamming/early_check.h"
#include "kernels/hamming/scan.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using WordTag = hn::ScalableTag<std::uint64_t>;
using WordVector = hn::Vec<WordTag>;

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

/// Whether scans can read rows as they lie in the database.
constexpr bool takes_rows(int words) { return words == 1 || HWY_TARGET != HWY_SCALAR; }

#if HWY_TARGET != HWY_SCALAR
/// A vector of two words each of rows that lie `step` words apart.
template <class D>
HWY_INLINE hn::Vec<D> pairs_of_rows(D d, const std::uint64_t* at, std::size_t step) {
  if constexpr (hn::MaxLanes(D()) == 2) {
    return hn::LoadU(d, at);
  } else {
    const hn::Half<D> half;
    return hn::Combine(d, pairs_of_rows(half, at + hn::MaxLanes(D()) / 4 * step, step),
                       pairs_of_rows(half, at, step));
  }
}

/// Word w of rows of W words that follow each other, two of every 16 from `at` on.
template <int W, class D>
HWY_INLINE hn::Vec<D> word_of_row_pairs(D d, const std::uint64_t* at, int w) {
  if constexpr (W == 1) {
    return pairs_of_rows(d, at, 16);
  } else {
    const int pair = std::min(w, W - 2);  // a last word alone comes with the one before it
    const auto even = pairs_of_rows(d, at + pair, 16 * W);
    const auto odd = pairs_of_rows(d, at + pair + W, 16 * W);
    return pair == w ? hn::InterleaveLower(d, even, odd) : hn::InterleaveUpper(d, even, odd);
  }
}
#endif

/// Words 0 to E - 1 of rows r, r + 1, ... of W words (one a lane).
template <int W, Layout kLayout, int E = W>
HWY_INLINE void load_words(const std::uint64_t* block, std::size_t r, WordVector (&words)[E]) {
  const WordTag d;
  if constexpr (kLayout == Layout::kByWord || W == 1) {
    for (std::size_t w = 0; w < E; ++w) words[w] = hn::LoadU(d, block + w * kRows + r);
  } else {
    const std::uint64_t* rows = block + r * W;
    if constexpr (W == 2 && E == 2) {
      hn::LoadInterleaved2(d, rows, words[0], words[1]);
    } else if constexpr (W == 3 && E == 3) {
      hn::LoadInterleaved3(d, rows, words[0], words[1], words[2]);
    } else if constexpr (W == 4 && E == 4) {
      hn::LoadInterleaved4(d, rows, words[0], words[1], words[2], words[3]);
#if HWY_TARGET != HWY_SCALAR
    } else {
      // Two words of every second row, and of those between.
      for (int w = 0; w < E; w += 2) {
        const int pair = std::min(w, W - 2);  // a last one alone comes with the one before it
        const auto even = pairs_of_rows(d, rows + pair, 2 * W);
        const auto odd = pairs_of_rows(d, rows + pair + W, 2 * W);
        if (pair == w) words[w] = hn::InterleaveLower(d, even, odd);
        if (pair + 1 < E) words[pair + 1] = hn::InterleaveUpper(d, even, odd);
      }
#endif
    }
  }
}

/// Distances of rows r, r + 1, ... (one a lane), of their first E words.
template <int W, Layout kLayout = Layout::kByWord, int E = W>
HWY_INLINE WordVector row_distances(const BroadcastQuery<W>& query, const std::uint64_t* block,
                                    std::size_t r) {
  WordVector words[E];
  load_words<W, kLayout, E>(block, r, words);
  const auto differing = [&](int w) HWY_ATTR { return hn::Xor(query.words[w], words[w]); };
#if HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_SCALAR
  auto sum = hn::PopulationCount(differing(0));
  for (int w = 1; w < E; ++w) sum = hn::Add(sum, hn::PopulationCount(differing(w)));
  return sum;
#else
  const hn::Repartition<std::uint8_t, WordTag> bytes;
  auto sum = hn::PopulationCount(hn::BitCast(bytes, differing(0)));
  // At most 8 words of 8 set bits a byte.
  for (int w = 1; w < E; ++w) {
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

/// Whether a row of a block is nearer than `limit` by its first E words. With kFetch it asks for the
/// memory that a scan of the database will be at soon: what Intel's processors fetch by themselves ends with
/// a page.
template <int W, Layout kLayout, int E, bool kFetch = kLayout == Layout::kByRow>
HWY_INLINE bool any_below(const BroadcastQuery<W>& query, const std::uint64_t* block,
                          WordVector limit) {
  constexpr std::size_t kAhead = 512, kLine = 8;  // words
  const std::size_t lanes = hn::Lanes(WordTag());
  auto least = hn::Set(WordTag(), std::uint64_t{1} << 30);
  for (std::size_t r = 0; r < kRows; r += lanes) {
    for (std::size_t w = 0; kFetch && w < lanes * W; w += kLine) {
      hwy::Prefetch(block + r * W + w + kAhead);
    }
    least = smaller(least, row_distances<W, kLayout, E>(query, block, r));
  }
  return !hn::AllFalse(hn::RebindToSigned<WordTag>(), below(least, limit));
}

/// The next of blocks [b, count) with a row nearer than `limit` by its first E words; `count`: none.
template <int W, Layout kLayout, int E>
HWY_INLINE std::int64_t next_block(const BroadcastQuery<W>& query, const std::uint64_t* blocks,
                                   std::int64_t b, std::int64_t count, WordVector limit) {
  while (b < count && !any_below<W, kLayout, E>(query, blocks + b * W * kBlockRows, limit)) ++b;
  return b;
}

/// A bit for each block of kStreams streams.
class BlockFlags {
 public:
  void set(std::int64_t b) { words_[b / 64] |= std::uint64_t{1} << (b % 64); }
  /// The first that is set from b on; a number past all: none.
  std::int64_t next(std::int64_t b) const {
    constexpr std::int64_t kWords = std::int64_t(std::size(decltype(words_){}));
    for (std::int64_t w = b / 64; w < kWords; ++w) {
      const std::uint64_t rest = w == b / 64 ? words_[w] >> (b % 64) << (b % 64) : words_[w];
      if (rest != 0) return w * 64 + std::countr_zero(rest);
    }
    return kWords * 64;
  }

 private:
  std::uint64_t words_[kStreams * kStreamBytes / (8 * kBlockRows) / 64] = {};
};

/// The blocks of stream_rows() rows with one nearer than `limit` by its first E words.
template <int W, int E>
HWY_INLINE BlockFlags flag_blocks(const BroadcastQuery<W>& query, const std::uint64_t* blocks,
                                  std::int64_t count, WordVector limit) {
  BlockFlags flags;
  const std::int64_t each = count / kStreams;
  const auto look = [&](std::int64_t b) HWY_ATTR {
    const std::uint64_t* block = blocks + b * W * kBlockRows;
    if (any_below<W, Layout::kByRow, E, false>(query, block, limit)) flags.set(b);
  };
  for (std::int64_t i = 0; i < each; ++i) {
    for (std::int64_t stream = 0; stream < kStreams; ++stream) look(stream * each + i);
  }
  for (std::int64_t b = each * kStreams; b < count; ++b) look(b);
  return flags;
}

/// found(block, hits, distances) for every block with a row nearer than `bound`, which found() may
/// lower. Ends early when nothing can be nearer. Looks first at as few words as `early` says.
template <int W, Layout kLayout, class Found>
HWY_INLINE void scan_words(const std::uint64_t* blocks, std::int64_t count,
                           const std::uint64_t* query_words, const int& bound, EarlyCheck& early,
                           Found&& found) {
  const WordTag d;
  const BroadcastQuery<W> query(query_words);
  const int first = early.first_words(bound, W);
  if (first < W) early.tried += count;
  auto limit = hn::Set(d, std::uint64_t(bound));
  const auto with_first = [&](auto&& f) HWY_ATTR {
#if HWY_TARGET != HWY_SCALAR
    if constexpr (W > 1) {
      if (first == 1) return f(std::integral_constant<int, 1>());
    }
    if constexpr (W > 2) {
      if (first == 2) return f(std::integral_constant<int, 2>());
    }
    if constexpr (W > 4) {
      if (first == 4) return f(std::integral_constant<int, 4>());
    }
#endif
    return f(std::integral_constant<int, W>());
  };
  const auto next = [&](std::int64_t b) HWY_ATTR {
    return with_first([&](auto words) HWY_ATTR {
      return next_block<W, kLayout, words>(query, blocks, b, count, limit);
    });
  };
  const auto look = [&](std::int64_t b) HWY_ATTR {
    const std::uint64_t* block = blocks + b * W * kBlockRows;
    if (first < W) {
      ++early.failed;
      if (!any_below<W, kLayout, W>(query, block, limit)) return;
    }
    HWY_ALIGN std::uint16_t distances[kRows];
    const std::uint64_t hits = block_distances<W, kLayout>(query, block, bound, distances);
    found(b, hits, distances);
    limit = hn::Set(d, std::uint64_t(bound));
  };
  if (kLayout == Layout::kByRow && count * kBlockRows == stream_rows(W)) {
    const BlockFlags flags = with_first(
        [&](auto words) HWY_ATTR { return flag_blocks<W, words>(query, blocks, count, limit); });
    for (std::int64_t b = flags.next(0); b < count && bound > 0; b = flags.next(b + 1)) look(b);
    return;
  }
  for (std::int64_t b = next(0); b < count && bound > 0; b = next(b + 1)) look(b);
}

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

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
