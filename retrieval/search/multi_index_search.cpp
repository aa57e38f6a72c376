// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "kernels/core/parallel.h"
#include "kernels/hamming/bucket_scan.h"
#include "retrieval/search/multi_index_tables.h"

namespace hh::retrieval {
namespace {

using Bits = std::span<const std::uint64_t>;

constexpr std::int64_t kNearAtOnce = 512;  // after which the bound is looked at again

/// The numbers of `bits` bits that differ from `centre` in `differing`.
std::vector<std::uint32_t> buckets_around(std::uint32_t centre, int bits, int differing) {
  if (differing == 0) return {centre};
  std::vector<std::uint32_t> buckets;
  // All numbers with `differing` set bits, in ascending order (Gosper's way).
  std::uint64_t mask = (std::uint64_t{1} << differing) - 1;
  while (mask >> bits == 0) {
    buckets.push_back(centre ^ std::uint32_t(mask));
    const std::uint64_t lowest = mask & -mask, ripple = mask + lowest;
    mask = ripple | ((mask ^ ripple) >> 2) / lowest;
  }
  return buckets;
}

}  // namespace

void MultiIndex::Tables::look(Bits query, std::size_t i, int differing, const RowMask* allowed,
                              FoundRows& found, Statistics& statistics) const {
  const SubstringTable& table = tables[i];
  if (differing > table.substring.bits) return;
  const auto buckets = buckets_around(table.substring.of(query), table.substring.bits, differing);
  for (const std::uint32_t b : buckets) {
    statistics.codes_seen += table.offsets[b + 1] - table.offsets[b];
  }
  statistics.probes += std::int64_t(buckets.size());
  cpu::BucketScan scan{.offsets = table.offsets.data(),
                       .codes = table.codes.data(),
                       .query = query.data(),
                       .buckets = buckets.data(),
                       .bucket_count = std::int64_t(buckets.size()),
                       .words = database.row_words()};
  cpu::NearCode near[kNearAtOnce];
  const auto words = std::size_t(database.row_words());
  while (scan.next_bucket < scan.bucket_count) {
    scan.bound = found.bound();
    const std::int64_t count = cpu::bucket_scan(scan, near, kNearAtOnce);
    for (std::int64_t c = 0; c < count; ++c) {
      if (near[c].distance > found.bound()) continue;
      const std::uint32_t row = table.rows[near[c].position];
      if (allowed != nullptr && !allowed->test(row)) continue;
      // Not again what a nearer bucket or an earlier table has shown already.
      std::uint64_t difference[kMaxBits / 64 + 1];
      for (std::size_t w = 0; w < words; ++w) {
        difference[w] = table.codes[near[c].position * words + w] ^ query[w];
      }
      bool seen = false;
      for (std::size_t j = 0; j < tables.size() && !seen; ++j) {
        const int weight = tables[j].substring.weight({difference, words});
        seen = weight < differing || (weight == differing && j < i);
      }
      if (!seen) found.add(near[c].distance, row);
    }
  }
}

bool MultiIndex::Tables::search(Bits query, double budget, const RowMask* allowed, FoundRows& found,
                                Statistics& statistics) const {
  const auto m = int(tables.size());
  // When tables 0 .. i have been looked at up to `differing` bits and the others up to one less,
  // everything within differing * m + i is found.
  for (int differing = 0; differing * m <= database.bits; ++differing) {
    for (int i = 0; i < m; ++i) {
      if (found.bound() < differing * m + i) return true;
      const SubstringTable& table = tables[std::size_t(i)];
      budget -= step_cost(table, differing);
      if (budget < 0) return false;
      look(query, std::size_t(i), differing, allowed, found, statistics);
    }
  }
  return true;
}

std::vector<std::int64_t> MultiIndex::Tables::search_all(
    CodesView queries, int bound, std::int64_t k, const RowMask* allowed, Statistics* statistics,
    const std::function<void(std::int64_t, const std::vector<std::uint64_t>&)>& done) const {
  const double scan = queries.count >= 8 ? costs.scan_code : costs.scan_code_alone;
  // Lookups that end in a scan after all were in vain: stop them at half of its time.
  const double budget = 0.5 * scan * double(database.count);
  std::vector<char> finished(std::size_t(queries.count));
  std::vector<Statistics> each(std::size_t(queries.count));
  const auto some = [&](std::int64_t first, std::int64_t last) {
    cpu::parallel_for(last - first, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t q = first + begin; q < first + end; ++q) {
        FoundRows found(bound, database.bits, k);
        const bool all = search(queries.row(q), budget, allowed, found, each[std::size_t(q)]);
        finished[std::size_t(q)] = all ? 1 : 0;
        if (all) done(q, std::move(found).sorted());
      }
    });
    return std::count(finished.begin() + first, finished.begin() + last, 1);
  };
  // The first queries tell whether the others are worth trying.
  const std::int64_t trial = std::min<std::int64_t>(queries.count, 32);
  if (some(0, trial) * 4 >= trial) some(trial, queries.count);
  std::vector<std::int64_t> left;
  for (std::int64_t q = 0; q < queries.count; ++q) {
    if (!finished[std::size_t(q)]) left.push_back(q);
  }
  if (statistics != nullptr) {
    for (const Statistics& s : each) {
      statistics->probes += s.probes;
      statistics->codes_seen += s.codes_seen;
    }
    statistics->queries_scanned += std::int64_t(left.size());
  }
  return left;
}

}  // namespace hh::retrieval
