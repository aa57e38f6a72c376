// SPDX-License-Identifier: Apache-2.0
#include "retrieval/search/choice.h"

#include <unistd.h>

#include <algorithm>

#include "kernels/core/parallel.h"
#include "retrieval/search/hamming_scan.h"
#include "retrieval/search/multi_index.h"
#include "retrieval/search/multi_index_tables.h"
#include "retrieval/search/substring_tables.h"
#include "retrieval/search/timing.h"

namespace hh::retrieval {
namespace {

/// Building a part stays in the caches more than building all does; and clustered codes fill the
/// buckets unevenly, those most that are looked up most: 5,000 to 20,000 queries of 1 to 10 million
/// codes of 64 bits around 1,000 centres took 20 to 60 times what evenly filled buckets would.
constexpr double kBuildMisses = 1.5, kUneven = 20;
/// Tables are for gains that show in spite of the estimate's error.
constexpr double kClearly = 0.8;
/// Words that the scan would look at: below, it takes some 20 ms, and so does measuring.
constexpr double kWorthMeasuring = 1e8;
/// Putting a code into a table takes as long as a scan's look at it for some 500 queries here; on
/// any machine for more than these.
constexpr double kQueriesOfTable = 64;
/// Words that take a scan some 50 us, less than the rest of a request.
constexpr std::int64_t kWorthTables = 200'000;
constexpr std::int64_t kTrial = 32;  // queries that are scanned to learn how far they must look
constexpr std::int64_t kFullGroup = 256;  // queries of one thread that share a pass over the codes

bool worth_measuring(CodesView database, CodesView queries) {
  const double words = double(queries.count) * database.row_words();
  if (words <= kQueriesOfTable * suitable_substrings(database.count, database.bits)) return false;
  return double(database.count) * words >= kWorthMeasuring;
}

/// Rows to measure on: a sixteenth, within reason.
CodesView some_rows(CodesView database) {
  constexpr std::int64_t kLeast = 1 << 16, kMost = 1 << 20;
  return database.slice(0,
                        std::min(database.count, std::clamp(database.count / 16, kLeast, kMost)));
}

/// One code for one query, by scan(rows, queries) of a part of the work that is as the whole: all
/// threads, each with a full group of queries. The better of two tries.
double scan_code(CodesView database, CodesView queries, const auto& scan) {
  const CodesView rows = some_rows(database);
  const CodesView some =
      queries.slice(0, std::min<std::int64_t>(queries.count, kFullGroup * cpu::num_threads()));
  return least_seconds([&] { scan(rows, some); }, 2) * kNano * cpu::num_threads() /
         (double(rows.count) * double(some.count));
}

/// One code into one table while all threads build tables, as they will.
double build_code(CodesView database) {
  const CodesView rows = some_rows(database);
  const auto substrings = cut(database.bits, suitable_substrings(database.count, database.bits));
  const auto tables = std::min<std::int64_t>(cpu::num_threads(), std::int64_t(substrings.size()));
  const double round = seconds([&] {
    cpu::parallel_chunks(tables,
                         [&](std::int64_t i) { build_table(rows, substrings[std::size_t(i)]); });
  });
  return round * kNano / double(rows.count);
}

/// Of tables of the first rows, which are cut as for all of them.
SearchCosts lookup_costs(CodesView database) {
  const std::int64_t rows = std::min<std::int64_t>(database.count, 1 << 16);
  const int substrings = suitable_substrings(database.count, database.bits);
  return MultiIndex(database.slice(0, rows), {.substrings = substrings}).costs();
}

bool tables_fit(CodesView database, std::size_t max_bytes) {
  return database.count < std::int64_t{1} << 32 &&  // as many as tables can number
         MultiIndex::memory_bytes(database.count, database.bits) <= max_bytes;
}

/// How far each query must look for its k nearest.
std::vector<std::int32_t> reach_of(CodesView database, CodesView queries, std::int64_t k,
                                   const RowMask* allowed) {
  const TopkResult found = HammingScan(database).topk(queries, k, allowed);
  std::vector<std::int32_t> reach;
  for (std::int64_t q = 0; q < queries.count; ++q) {
    // Fewer than k rows: everything must be looked at.
    const std::int32_t last = found.distances_of(q).back();
    reach.push_back(last < 0 ? database.bits : last);
  }
  return reach;
}

/// `scan`(rows, queries) searches a part; `reach_of_trial`(queries) tells how far they must look.
SearchEstimate choose(CodesView database, CodesView queries, std::size_t max_bytes,
                      const auto& scan, const auto& reach_of_trial) {
  if (!worth_measuring(database, queries) || !tables_fit(database, max_bytes)) return {};
  ChoiceCosts costs{.scan_code = scan_code(database, queries, scan),
                    .build_code = build_code(database)};
  // Where building alone takes too long there is nothing to try.
  const SearchEstimate least =
      estimate_search(costs, database.count, database.bits, queries.count, {});
  if (!least.multi_index) return least;
  const SearchCosts lookups = lookup_costs(database);
  costs.probe = lookups.probe;
  costs.bucket_code = lookups.bucket_code;
  const auto reach = reach_of_trial(queries.slice(0, std::min(queries.count, kTrial)));
  return estimate_search(costs, database.count, database.bits, queries.count, reach);
}

}  // namespace

SearchEstimate estimate_search(const ChoiceCosts& costs, std::int64_t count, int bits,
                               std::int64_t queries, std::span<const std::int32_t> reach) {
  const double threads = cpu::num_threads();
  const auto substrings = cut(bits, suitable_substrings(count, bits));
  const auto m = int(substrings.size());
  const SearchCosts steps{.probe = costs.probe, .bucket_code = costs.bucket_code};
  double lookups = 0;  // of all in `reach`
  for (const std::int32_t distance : reach) {
    for (int step = 0; step <= distance; ++step) {  // as MultiIndex::Tables::search goes
      lookups += lookup_cost(steps, substrings[std::size_t(step % m)], count, step / m);
    }
  }
  SearchEstimate e{.measured = true};
  e.scan = costs.scan_code * double(count) * double(queries) / threads / kNano;
  // A table is built by one thread.
  const int rounds = (m + cpu::num_threads() - 1) / cpu::num_threads();
  e.build = kBuildMisses * costs.build_code * double(count) * double(rounds) / kNano;
  if (!reach.empty()) {
    e.lookups = kUneven * lookups / double(reach.size()) * double(queries) / threads / kNano;
  }
  e.multi_index = e.lookups <= 0.5 * e.scan && e.build + e.lookups < kClearly * e.scan;
  return e;
}

SearchEstimate choose_for_topk(CodesView database, CodesView queries, std::int64_t k,
                               const RowMask* allowed, std::size_t max_bytes) {
  check_search(database, queries, allowed);
  // A mask makes no code cheaper to look at.
  return choose(
      database, queries, max_bytes,
      [&](CodesView rows, CodesView some) { HammingScan(rows).topk(some, k); },
      [&](CodesView trial) { return reach_of(database, trial, k, allowed); });
}

SearchEstimate choose_for_radius(CodesView database, CodesView queries, int radius,
                                 std::size_t max_bytes) {
  check_search(database, queries, nullptr);
  return choose(
      database, queries, max_bytes,
      [&](CodesView rows, CodesView some) { HammingScan(rows).radius(some, radius); },
      [&](CodesView) { return std::vector<std::int32_t>{std::min(radius, database.bits)}; });
}

SearchEstimate choose_for_service(CodesView database, std::int64_t k, std::size_t max_bytes) {
  if (database.count * database.row_words() < kWorthTables) return {};
  if (!tables_fit(database, max_bytes)) return {};
  PackedCodes some(0, database.bits);
  for (std::int64_t i = 0; i < kTrial; ++i) {
    const std::int64_t row = database.count / kTrial * i;
    some.append(database.slice(row, row + 1));
  }
  const auto reach = reach_of(database, some, k, nullptr);
  const SearchCosts costs = lookup_costs(database);
  SearchEstimate e = estimate_search(
      {.scan_code = costs.scan_code, .probe = costs.probe, .bucket_code = costs.bucket_code},
      database.count, database.bits, 1, reach);
  e.multi_index = e.lookups <= 0.5 * e.scan;
  return e;
}

std::size_t memory_for_tables() {
  return std::size_t(sysconf(_SC_AVPHYS_PAGES)) * std::size_t(sysconf(_SC_PAGE_SIZE)) / 2;
}

}  // namespace hh::retrieval
