// SPDX-License-Identifier: Apache-2.0
// Inside MultiIndex: its tables, what looking them up costs, and the search through them.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "retrieval/codes/codes.h"
#include "retrieval/codes/row_mask.h"
#include "retrieval/search/found_rows.h"
#include "retrieval/search/multi_index.h"
#include "retrieval/search/substring_tables.h"

namespace hh::retrieval {

/// Nanoseconds of looking at all buckets whose number differs in `differing` of the substring's
/// bits, with `count` codes evenly spread.
double lookup_cost(const SearchCosts& costs, const Substring& substring, std::int64_t count,
                   int differing);

struct MultiIndex::Tables {
  CodesView database;
  std::vector<SubstringTable> tables;
  SearchCosts costs;

  /// Fills in the costs.
  void measure();

  /// Nanoseconds of looking at all buckets that differ in `differing` bits.
  double step_cost(const SubstringTable& table, int differing) const;

  /// Looks at all buckets of table i whose number differs in `differing` bits from the query's.
  void look(std::span<const std::uint64_t> query, std::size_t i, int differing,
            const RowMask* allowed, FoundRows& found, Statistics& statistics) const;

  /// All within found's bound. False when it would take longer than `budget` nanoseconds; what is
  /// found then isn't all.
  bool search(std::span<const std::uint64_t> query, double budget, const RowMask* allowed,
              FoundRows& found, Statistics& statistics) const;

  /// search() for all queries; done(query, keys) with the sorted keys. Returns the queries that had
  /// better be scanned.
  std::vector<std::int64_t> search_all(
      CodesView queries, int bound, std::int64_t k, const RowMask* allowed, Statistics* statistics,
      const std::function<void(std::int64_t, const std::vector<std::uint64_t>&)>& done) const;
};

}  // namespace hh::retrieval
