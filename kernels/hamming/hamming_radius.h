// SPDX-License-Identifier: Apache-2.0
// All rows of a database of packed codes within a Hamming distance of each query (hamming_topk.h
// defines distance and layout). How many there are is known only afterwards:
//
//   counts[q] = number of allowed rows r with d(q, r) <= radius
//   rows[q, :] = the first min(counts[q], capacity) of them in order of rows
//   distances[q, :] = their d
//
// What lies behind the last one is left as it was. A caller whose capacity was too small sees it by
// the counts, and asks again for those queries. capacity = 0 only counts.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/work.h"

namespace hh {

struct HammingRadius {
  const std::uint64_t* queries = nullptr;   // [Q, words] in
  const std::uint64_t* database = nullptr;  // [N, words] in
  const std::uint64_t* allowed = nullptr;   // [ceil(N / 64)] in   null: all rows
  std::int64_t* counts = nullptr;           // [Q] out
  std::int64_t* rows = nullptr;             // [Q, capacity] out
  std::int32_t* distances = nullptr;        // [Q, capacity] out
  std::int64_t query_count = 0;             // Q >= 0
  std::int64_t row_count = 0;               // 0 <= N < 2^48
  std::int64_t capacity = 0;                // >= 0
  int bits = 0;                             // 1 to 512; words = ceil(bits / 64)
  int radius = 0;                           // >= 0
  void* workspace = nullptr;                // workspace_bytes(*this), aligned to 64

  static constexpr int kMaxBits = 512;
  static constexpr std::int64_t kMaxRows = (std::int64_t{1} << 48) - 1;

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(query_count >= 0, "hamming_radius: query_count = " << query_count);
    HH_PRECONDITION(row_count >= 0 && row_count <= kMaxRows,
                    "hamming_radius: row_count = " << row_count);
    HH_PRECONDITION(capacity >= 0, "hamming_radius: capacity = " << capacity);
    HH_PRECONDITION(bits >= 1 && bits <= kMaxBits, "hamming_radius: bits = " << bits);
    HH_PRECONDITION(radius >= 0, "hamming_radius: radius = " << radius);
    HH_PRECONDITION(query_count == 0 || (queries && counts), "hamming_radius: an array is null");
    HH_PRECONDITION(query_count == 0 || capacity == 0 || (rows && distances),
                    "hamming_radius: an array is null");
    HH_PRECONDITION(row_count == 0 || database, "hamming_radius: database is null");
  }
  Work work() const {
    const double words = double(row_count) * ((bits + 63) / 64);
    return {.bytes = 8 * words, .flops = words * double(query_count), .reads_only = true};
  }
};

namespace cpu {
/// Returns when done; the same bits for any number of threads. The workspace holds for the
/// num_threads() of the moment it was asked for.
void run(const HammingRadius& p);
std::size_t workspace_bytes(const HammingRadius& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
void run(const HammingRadius& p, StreamHandle stream);
std::size_t workspace_bytes(const HammingRadius& p);
}  // namespace gpu

}  // namespace hh
