// SPDX-License-Identifier: Apache-2.0
// The k rows of a database of packed codes that are nearest to each query by Hamming distance:
//
//   d(q, r) = number of set bits of queries[q] XOR database[r]
//   rows[q, :] = the first k allowed rows in order of (d, row), distances[q, :] their d
//
// The order is total, so the answer is one and the same however it is computed. Where fewer than k
// rows are allowed the rest is -1. Codes are rows of 64-bit words whose bits past the last are
// zero.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/work.h"

namespace hh {

struct HammingTopk {
  const std::uint64_t* queries = nullptr;   // [Q, words] in
  const std::uint64_t* database = nullptr;  // [N, words] in
  const std::uint64_t* allowed = nullptr;   // [ceil(N / 64)] in   row r: bit r % 64 of word r / 64;
                                            //                     null: all rows
  std::int64_t* rows = nullptr;             // [Q, k] out
  std::int32_t* distances = nullptr;        // [Q, k] out
  std::int64_t query_count = 0;             // Q >= 0
  std::int64_t row_count = 0;               // 0 <= N < 2^48; on a GPU <= 2^35
  std::int64_t k = 1;                       // >= 1; on a GPU < 2^32 - 2^16
  int bits = 0;                             // 1 to 512; words = ceil(bits / 64)
  void* workspace = nullptr;                // workspace_bytes(*this), aligned to 64

  static constexpr int kMaxBits = 512;
  static constexpr std::int64_t kMaxRows = (std::int64_t{1} << 48) - 1;

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(query_count >= 0, "hamming_topk: query_count = " << query_count);
    HH_PRECONDITION(row_count >= 0 && row_count <= kMaxRows,
                    "hamming_topk: row_count = " << row_count);
    HH_PRECONDITION(k >= 1, "hamming_topk: k = " << k);
    HH_PRECONDITION(bits >= 1 && bits <= kMaxBits, "hamming_topk: bits = " << bits);
    HH_PRECONDITION(query_count == 0 || (queries && rows && distances),
                    "hamming_topk: an array is null");
    HH_PRECONDITION(row_count == 0 || database, "hamming_topk: database is null");
  }
  Work work() const {
    const double words = double(row_count) * ((bits + 63) / 64);
    return {.bytes = 8 * words, .flops = words * double(query_count), .reads_only = true};
  }
};

namespace cpu {
/// Returns when done; the same bits for any number of threads. The workspace holds for the
/// num_threads() of the moment it was asked for.
void run(const HammingTopk& p);
std::size_t workspace_bytes(const HammingTopk& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
void run(const HammingTopk& p, StreamHandle stream);
std::size_t workspace_bytes(const HammingTopk& p);
}  // namespace gpu

}  // namespace hh
