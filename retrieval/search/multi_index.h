// SPDX-License-Identifier: Apache-2.0
// Multi-index hashing: exact search without looking at every code. A code is cut into m substrings,
// each with a table of its own; codes within distance r of a query agree with it in some substring
// up to r / m bits, so growing r step by step looks up ever more distant substrings until the k-th
// result is nearer than anything not yet seen. Answers, ties included, are those of HammingScan.
// Each table holds a copy of the codes in its own order, so that a bucket is read as one piece.
// Source: Norouzi, Punjani, Fleet, "Fast search in Hamming space with multi-index hashing", 2012.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

#include "retrieval/codes/codes.h"
#include "retrieval/search/hamming_scan.h"

namespace hh::retrieval {

/// What the steps of a search take on this machine, in nanoseconds of one thread.
struct SearchCosts {
  double scan_code = 0;        // one code of the plain scan in a batch of many queries
  double scan_code_alone = 0;  // the same for a single query
  double probe = 0;            // looking up one bucket
  double bucket_code = 0;      // one code in a bucket
};

struct MultiIndexOptions {
  int substrings = 0;  // 0: by the number of codes and bits
};

class MultiIndex {
 public:
  /// Builds the tables and measures the costs (a few milliseconds). The view's memory must outlive
  /// the index. At most 2^32 - 1 codes. Throws std::invalid_argument.
  explicit MultiIndex(CodesView database, const MultiIndexOptions& options = {});
  ~MultiIndex();
  MultiIndex(MultiIndex&&) noexcept;
  MultiIndex& operator=(MultiIndex&&) noexcept;

  /// How a search went.
  struct Statistics {
    std::int64_t probes = 0, codes_seen = 0, queries_scanned = 0;
  };
  /// As HammingScan's. A query whose remaining lookups would take longer than a scan is scanned.
  TopkResult topk(CodesView queries, std::int64_t k, const RowMask* allowed = nullptr,
                  Statistics* statistics = nullptr) const;
  RadiusResult radius(CodesView queries, int radius, const RowMask* allowed = nullptr,
                      Statistics* statistics = nullptr) const;

  std::int64_t count() const;  // codes
  int substrings() const;
  const SearchCosts& costs() const;
  /// Memory the tables take for such a database, beside the database itself.
  static std::size_t memory_bytes(std::int64_t count, int bits,
                                  const MultiIndexOptions& options = {});

 private:
  struct Tables;
  std::unique_ptr<Tables> tables_;
};

}  // namespace hh::retrieval
