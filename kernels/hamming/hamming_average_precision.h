// SPDX-License-Identifier: Apache-2.0
// Average precision of queries against a database, by counting. Row r is relevant to query q when
// their labels share a class; rows are ranked by (Hamming distance, row). With c_d and h_d the rows
// and the relevant rows at distance d, the j-th row at distance d has rank  sum_{e<d} c_e + j, so
// one pass that counts and one that places give the ranking without a sort:
//
//   retrieved[q, d] = c_d,   relevant[q, d] = h_d                      over all rows
//   ap[q] = 1/n sum_i i / t_i    over the n relevant rows at ranks t_1 < ... < t_n <= cut;
//                                0 if n = 0
//   hits[q] = n
//   ranking[q]: bit (t-1) % 64 of word (t-1) / 64 is 1 where the row of rank t <= cut is relevant
//
// Labels are packed: class k of row j is bit k % 64 of word labels[j * words + k / 64].
// Source: docs/specification.md, section 5, "stable".
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/work.h"

namespace hh {

struct HammingAveragePrecision {
  const std::uint64_t* queries = nullptr;       // [Q, words] in
  const std::uint64_t* query_labels = nullptr;  // [Q, label_words] in
  const std::uint64_t* database = nullptr;      // [N, words] in
  const std::uint64_t* row_labels = nullptr;    // [N, label_words] in
  double* ap = nullptr;                         // [Q] out
  std::int64_t* hits = nullptr;                 // [Q] out
  std::uint32_t* retrieved = nullptr;           // [Q, bits + 1] out
  std::uint32_t* relevant = nullptr;            // [Q, bits + 1] out
  std::uint64_t* ranking = nullptr;  // [Q, ceil(depth / 64)] out  null exactly when depth is 0
  std::int64_t query_count = 0;      // Q >= 0
  std::int64_t row_count = 0;        // 1 <= N < 2^31
  std::int64_t cut = 0;              // 1 to N
  std::int64_t depth = 0;            // 0 to N
  int bits = 0;                      // 1 to 512; words = ceil(bits / 64)
  int label_words = 1;               // >= 1
  void* workspace = nullptr;         // workspace_bytes(*this), aligned to 64

  static constexpr int kMaxBits = 512;
  static constexpr std::int64_t kMaxRows = (std::int64_t{1} << 31) - 1;

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(query_count >= 0, "hamming_average_precision: query_count = " << query_count);
    HH_PRECONDITION(row_count >= 1 && row_count <= kMaxRows,
                    "hamming_average_precision: row_count = " << row_count);
    HH_PRECONDITION(cut >= 1 && cut <= row_count,
                    "hamming_average_precision: cut = " << cut << " of " << row_count << " rows");
    HH_PRECONDITION(
        depth >= 0 && depth <= row_count,
        "hamming_average_precision: depth = " << depth << " of " << row_count << " rows");
    HH_PRECONDITION(bits >= 1 && bits <= kMaxBits, "hamming_average_precision: bits = " << bits);
    HH_PRECONDITION(label_words >= 1, "hamming_average_precision: label_words = " << label_words);
    HH_PRECONDITION(query_count == 0 || (queries && query_labels && database && row_labels && ap &&
                                         hits && retrieved && relevant && (depth == 0 || ranking)),
                    "hamming_average_precision: an array is null");
  }
  Work work() const {
    return {.bytes = double(row_count) * 8 * ((bits + 63) / 64 + label_words),
            .flops = double(row_count) * double(query_count),
            .reads_only = true};
  }
};

namespace cpu {
/// Returns when done; the same bits for any number of threads. The workspace holds for the
/// num_threads() of the moment it was asked for.
void run(const HammingAveragePrecision& p);
std::size_t workspace_bytes(const HammingAveragePrecision& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
void run(const HammingAveragePrecision& p, StreamHandle stream);
std::size_t workspace_bytes(const HammingAveragePrecision& p);
}  // namespace gpu

}  // namespace hh
