// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "kernels/core/parallel.h"
#include "kernels/core/philox.h"
#include "kernels/hamming/bucket_scan.h"
#include "retrieval/search/hamming_scan.h"
#include "retrieval/search/multi_index_tables.h"
#include "retrieval/search/timing.h"

namespace hh::retrieval {
namespace {

double choose(int n, int k) {
  double value = 1;
  for (int i = 1; i <= k; ++i) value *= double(n - k + i) / i;
  return value;
}

}  // namespace

double lookup_cost(const SearchCosts& costs, const Substring& substring, std::int64_t count,
                   int differing) {
  const double bucket = double(count) / double(std::size_t{1} << substring.bits);
  return choose(substring.bits, differing) * (costs.probe + bucket * costs.bucket_code);
}

double MultiIndex::Tables::step_cost(const SubstringTable& table, int differing) const {
  return lookup_cost(costs, table.substring, database.count, differing);
}

void MultiIndex::Tables::measure() {
  if (database.count == 0) return;
  const std::int64_t rows = std::min<std::int64_t>(database.count, 1 << 18), batch = 32;
  const CodesView some = database.slice(0, rows);
  const HammingScan scan(some);
  // Random queries: one that is in the database would end its scan at the first hit of distance 0.
  PackedCodes queries(batch, database.bits);
  const Philox random(0, RandomPurpose::kTest);
  std::uint64_t next = 0;
  for (std::int64_t q = 0; q < batch; ++q) {
    for (int j = 0; j < database.bits; ++j) queries.set(q, j, random.word(next++) & 1);
  }
  // A batch keeps all threads busy, each with its own queries, as the lookups do.
  costs.scan_code = least_seconds([&] { scan.topk(queries, 1); }) * kNano * cpu::num_threads() /
                    double(rows * batch);
  costs.scan_code_alone =
      least_seconds([&] { scan.topk(queries.view().slice(0, 1), 1); }) * kNano / double(rows);

  const SubstringTable& table = tables.front();
  const auto all = std::uint32_t(rows);
  const std::uint32_t one_bucket[] = {0, all}, first[] = {0};
  constexpr std::int64_t kNear = 2 * cpu::BucketScan::kPadding;  // none is near enough
  cpu::NearCode near[kNear];
  cpu::BucketScan together{.offsets = one_bucket,
                           .codes = table.codes.data(),
                           .query = database.words,
                           .buckets = first,
                           .bucket_count = 1,
                           .words = database.row_words(),
                           .bound = -1};
  costs.bucket_code = least_seconds([&] {
                        cpu::BucketScan once = together;
                        cpu::bucket_scan(once, near, kNear);
                      }) *
                      kNano / double(rows);
  // Far apart, so that each lookup misses the caches as it will in earnest.
  std::vector<std::uint32_t> buckets(256);
  double codes = 0;
  const double probing = least_seconds([&] {
    codes = 0;
    for (std::uint32_t& b : buckets) {
      b = random.below(next++, std::uint32_t(table.offsets.size() - 1));
      codes += table.offsets[b + 1] - table.offsets[b];
    }
    cpu::BucketScan apart = together;
    apart.offsets = table.offsets.data();
    apart.buckets = buckets.data();
    apart.bucket_count = std::int64_t(buckets.size());
    cpu::bucket_scan(apart, near, kNear);
  });
  constexpr double kLeastProbe = 5;
  costs.probe =
      std::max(kLeastProbe, (probing * kNano - codes * costs.bucket_code) / double(buckets.size()));
}

}  // namespace hh::retrieval
