// SPDX-License-Identifier: Apache-2.0
// Latency   A bucket begins with a cache miss, so the next ones' addresses and codes are asked for
//           ahead.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/hamming/bucket_scan.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per target.
#include <hwy/cache_control.h>

#include "kernels/hamming/bucket_scan.h"
#include "kernels/hamming/scan_words-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

constexpr std::int64_t kOffsetsAhead = 16, kCodesAhead = 8;  // buckets; a guess

/// Positions begin .. begin + lanes - 1 whose distance is at most `bound`; one bit each.
template <int W>
struct Step {
  // More than one word a code: one code at a time.
  static constexpr std::int64_t lanes() { return 1; }
  const std::uint64_t* query;
  int bound;
  explicit Step(const BucketScan& s) : query(s.query), bound(s.bound) {}
  HWY_INLINE std::uint32_t operator()(const std::uint64_t* codes, std::int32_t* distances) const {
    int distance = 0;
    for (int w = 0; w < W; ++w) distance += __builtin_popcountll(codes[w] ^ query[w]);
    distances[0] = distance;
    return distance <= bound;
  }
};

template <>
struct Step<1> {
  static std::int64_t lanes() { return std::int64_t(hn::Lanes(WordTag())); }
  BroadcastQuery<1> query;
  WordVector limit;
  explicit HWY_INLINE Step(const BucketScan& s)
      : query(s.query), limit(hn::Set(WordTag(), std::uint64_t(s.bound + 1))) {}
  HWY_INLINE std::uint32_t operator()(const std::uint64_t* codes, std::int32_t* distances) const {
    const auto sums = row_distances(query, codes, 0);
    const hn::RebindToSigned<WordTag> signed_words;
    const auto near = below(sums, limit);
    if (HWY_LIKELY(hn::AllFalse(signed_words, near))) return 0;
    HWY_ALIGN std::uint64_t wide[hn::MaxLanes(WordTag())];
    hn::Store(sums, WordTag(), wide);
    for (std::size_t i = 0; i < hn::Lanes(WordTag()); ++i) distances[i] = std::int32_t(wide[i]);
    std::uint8_t bits[8] = {};
    hn::StoreMaskBits(signed_words, near, bits);
    return bits[0];
  }
};

template <int W>
std::int64_t scan_buckets(BucketScan& s, NearCode* near, std::int64_t capacity) {
  const Step<W> step(s);
  const std::int64_t lanes = Step<W>::lanes();
  std::int64_t found = 0;
  for (; s.next_bucket < s.bucket_count; ++s.next_bucket, s.next_in_bucket = 0) {
    if (s.next_bucket + kOffsetsAhead < s.bucket_count) {
      hwy::Prefetch(s.offsets + s.buckets[s.next_bucket + kOffsetsAhead]);
    }
    if (s.next_bucket + kCodesAhead < s.bucket_count) {
      hwy::Prefetch(s.codes + std::size_t(s.offsets[s.buckets[s.next_bucket + kCodesAhead]]) * W);
    }
    const std::int64_t begin = s.offsets[s.buckets[s.next_bucket]];
    const std::int64_t size = s.offsets[s.buckets[s.next_bucket] + 1] - begin;
    for (; s.next_in_bucket < size; s.next_in_bucket += lanes) {
      if (capacity - found < BucketScan::kPadding) return found;
      const std::int64_t position = begin + s.next_in_bucket;
      std::int32_t distances[BucketScan::kPadding];
      std::uint32_t hits = step(s.codes + position * W, distances);
      if (HWY_LIKELY(hits == 0)) continue;
      const std::int64_t left = size - s.next_in_bucket;
      if (left < lanes) hits &= (1u << left) - 1;
      for (; hits != 0; hits &= hits - 1) {
        const int lane = __builtin_ctz(hits);
        near[found++] = {std::uint32_t(position + lane), distances[lane]};
      }
    }
  }
  return found;
}

std::int64_t scan_by_words(BucketScan& s, NearCode* near, std::int64_t capacity) {
  constexpr decltype(&scan_buckets<1>) kByWords[] = {
      scan_buckets<1>, scan_buckets<2>, scan_buckets<3>, scan_buckets<4>,
      scan_buckets<5>, scan_buckets<6>, scan_buckets<7>, scan_buckets<8>};
  return kByWords[s.words - 1](s, near, capacity);
}

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::cpu {
namespace {
HWY_EXPORT(scan_by_words);
}  // namespace

std::int64_t bucket_scan(BucketScan& scan, NearCode* near, std::int64_t capacity) {
  assert(capacity >= 2 * BucketScan::kPadding);
  return HWY_DYNAMIC_DISPATCH(scan_by_words)(scan, near, capacity);
}

}  // namespace hh::cpu
#endif
