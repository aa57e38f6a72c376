// SPDX-License-Identifier: Apache-2.0
// The inner loop of multi-index hashing (retrieval/search/multi_index.h): codes that lie in
// buckets, one behind the other, compared with a query. Looks at short stretches of memory all over
// the place, which a GPU has no use for, so this is a CPU routine and not an op.
#pragma once
#include <cstdint>

namespace hh::cpu {

struct BucketScan {
  const std::uint32_t* offsets = nullptr;  // bucket b holds positions offsets[b] .. offsets[b + 1]
  const std::uint64_t* codes = nullptr;    // [positions + kPadding, words], in order of buckets
  const std::uint64_t* query = nullptr;    // [words]
  const std::uint32_t* buckets = nullptr;  // [bucket_count] to look at
  std::int64_t bucket_count = 0;
  int words = 1;  // 1 to 8
  int bound = 0;  // distances up to this one are reported

  // Where the scan stands; a new one starts with zeros.
  std::int64_t next_bucket = 0;     // in `buckets`
  std::int64_t next_in_bucket = 0;  // positions of that bucket already seen

  static constexpr std::int64_t kPadding = 8;  // codes behind the last that may be read
};

/// A code within the bound.
struct NearCode {
  std::uint32_t position;
  std::int32_t distance;
};

/// Goes on until all buckets are done (next_bucket == bucket_count) or fewer than kPadding places
/// are left in near[0 .. capacity). Returns how many were found. capacity >= 2 * kPadding.
std::int64_t bucket_scan(BucketScan& scan, NearCode* near, std::int64_t capacity);

}  // namespace hh::cpu
