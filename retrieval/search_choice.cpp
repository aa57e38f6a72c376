#include "retrieval/search_choice.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "kernels/core/parallel.h"
#include "retrieval/multi_index.h"
#include "retrieval/multi_index_tables.h"
#include "retrieval/search.h"
#include "retrieval/substring_tables.h"

namespace hh::retrieval {
namespace {

constexpr double kNano = 1e9;
/// The few rows that are measured stay in the caches, all rows don't; and clustered codes fill the
/// buckets unevenly, those most that are looked up most. Both as found with 2 million codes of 64
/// bits around 1,000 centres: tables took 3 to 4 times what was estimated without, lookups 10
/// times.
constexpr double kBuildMisses = 4, kUneven = 10;
/// Words that the scan would look at: below, it takes some 20 ms, and so does measuring.
constexpr double kWorthMeasuring = 1e8;
/// Words that take a scan some 50 us, less than the rest of a request.
constexpr std::int64_t kWorthTables = 200'000;
constexpr std::int64_t kTrial = 32;  // queries that are scanned to learn how far they must look

bool worth_measuring(CodesView database, CodesView queries) {
  // Building copies all codes into each table, which takes longer than reading them once a table.
  if (queries.count <= suitable_substrings(database.count, database.bits)) return false;
  return double(database.count) * double(queries.count) * database.row_words() >= kWorthMeasuring;
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

SearchEstimate choose(CodesView database, CodesView queries, std::size_t max_bytes,
                      const auto& reach_of_trial) {
  if (!worth_measuring(database, queries) || !tables_fit(database, max_bytes)) return {};
  ChoiceCosts costs = measure_choice_costs(database);
  // Where building alone takes longer than the scan there is nothing to try.
  const SearchEstimate least =
      estimate_search(costs, database.count, database.bits, queries.count, {});
  if (!least.multi_index) return least;
  const auto reach = reach_of_trial(queries.slice(0, std::min(queries.count, kTrial)), costs);
  return estimate_search(costs, database.count, database.bits, queries.count, reach);
}

}  // namespace

ChoiceCosts measure_choice_costs(CodesView database) {
  const std::int64_t rows = std::min<std::int64_t>(database.count, 1 << 16);
  if (rows == 0) return {};
  const int substrings = suitable_substrings(database.count, database.bits);
  const CodesView some = database.slice(0, rows);
  const auto start = std::chrono::steady_clock::now();
  build_table(some, cut(database.bits, substrings).front());
  const std::chrono::duration<double> build = std::chrono::steady_clock::now() - start;
  const SearchCosts measured = MultiIndex(some, {.substrings = substrings}).costs();
  return {.scan_code = measured.scan_code,
          .build_code = build.count() * kNano / double(rows),
          .probe = measured.probe,
          .bucket_code = measured.bucket_code};
}

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
  const double rounds = double((m + cpu::num_threads() - 1) / cpu::num_threads());
  e.build = kBuildMisses * costs.build_code * double(count) * rounds / kNano;
  if (!reach.empty()) {
    e.lookups = kUneven * lookups / double(reach.size()) * double(queries) / threads / kNano;
  }
  e.multi_index = e.lookups <= 0.5 * e.scan && e.build + e.lookups < e.scan;
  return e;
}

SearchEstimate choose_for_topk(CodesView database, CodesView queries, std::int64_t k,
                               const RowMask* allowed, std::size_t max_bytes) {
  check_search(database, queries, allowed);
  return choose(database, queries, max_bytes, [&](CodesView trial, ChoiceCosts& costs) {
    std::vector<std::int32_t> reach;
    for (int i = 0; i < 2; ++i) {
      const auto start = std::chrono::steady_clock::now();
      reach = reach_of(database, trial, k, allowed);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      // A longer scan, which other programs disturb less than the one that was measured.
      costs.scan_code = std::min(costs.scan_code, seconds.count() * kNano * cpu::num_threads() /
                                                      double(database.count * trial.count));
    }
    return reach;
  });
}

SearchEstimate choose_for_radius(CodesView database, CodesView queries, int radius,
                                 std::size_t max_bytes) {
  check_search(database, queries, nullptr);
  return choose(database, queries, max_bytes, [&](CodesView, ChoiceCosts&) {
    return std::vector<std::int32_t>{std::min(radius, database.bits)};
  });
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
  SearchEstimate e =
      estimate_search(measure_choice_costs(database), database.count, database.bits, 1, reach);
  e.multi_index = e.lookups <= 0.5 * e.scan;
  return e;
}

std::size_t memory_for_tables() {
  return std::size_t(sysconf(_SC_AVPHYS_PAGES)) * std::size_t(sysconf(_SC_PAGE_SIZE)) / 2;
}

}  // namespace hh::retrieval
