// SPDX-License-Identifier: Apache-2.0
// Which exact search answers a batch sooner: the plain scan, or multi-index hashing, whose tables
// must be built first. Decided by what parts of both take on this machine, some hundredths of it
// all. Answers are the same either way, so a wrong guess costs time and nothing else.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "retrieval/codes/codes.h"
#include "retrieval/codes/row_mask.h"

namespace hh::retrieval {

/// In nanoseconds of one thread.
struct ChoiceCosts {
  double scan_code = 0;   // one code for one query of many
  double build_code = 0;  // one code into one table
  double probe = 0, bucket_code = 0;
};

/// Seconds, on num_threads() threads.
struct SearchEstimate {
  bool measured = false;  // false: so little work that measuring would take as long
  double scan = 0, build = 0, lookups = 0;
  bool multi_index = false;
};

/// Of `queries` queries. `reach`: how far some of them must look, one each: the distance of the
/// k-th nearest, or the radius. Lookups and building are estimated high, as for clustered codes;
/// tables are chosen where they save a fifth of the scan's time and lookups half of it.
SearchEstimate estimate_search(const ChoiceCosts& costs, std::int64_t count, int bits,
                               std::int64_t queries, std::span<const std::int32_t> reach);

/// For the k nearest. Tables that would take more than `max_bytes` are not chosen.
SearchEstimate choose_for_topk(CodesView database, CodesView queries, std::int64_t k,
                               const RowMask* allowed, std::size_t max_bytes);
SearchEstimate choose_for_radius(CodesView database, CodesView queries, int radius,
                                 std::size_t max_bytes);

/// For single queries over and over, by tables that are built once: building doesn't count. How far
/// they must look is learnt from some of the database's own codes, the k nearest of each.
SearchEstimate choose_for_service(CodesView database, std::int64_t k, std::size_t max_bytes);

/// Half of the memory that is free: what tables may take.
std::size_t memory_for_tables();

}  // namespace hh::retrieval
