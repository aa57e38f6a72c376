#include "retrieval/multi_index.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "kernels/core/parallel.h"
#include "kernels/core/philox.h"
#include "kernels/hamming/bucket_scan.h"
#include "retrieval/found_rows.h"
#include "retrieval/substring_tables.h"

namespace hh::retrieval {
namespace {

using Bits = std::span<const std::uint64_t>;

constexpr std::int64_t kNearAtOnce = 512;  // after which the bound is looked at again

double choose(int n, int k) {
  double value = 1;
  for (int i = 1; i <= k; ++i) value *= double(n - k + i) / i;
  return value;
}

double seconds(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The least of a few tries: other programs only ever make it longer.
double least_seconds(const auto& work) {
  double least = seconds(work);
  for (int i = 0; i < 7; ++i) least = std::min(least, seconds(work));
  return least;
}

}  // namespace

struct MultiIndex::Tables {
  CodesView database;
  std::vector<SubstringTable> tables;
  SearchCosts costs;

  double average_bucket(const SubstringTable& table) const {
    return double(database.count) / double(table.offsets.size() - 1);
  }
  /// Nanoseconds of looking at all buckets that differ in `differing` bits.
  double step_cost(const SubstringTable& table, int differing) const {
    return choose(table.substring.bits, differing) *
           (costs.probe + average_bucket(table) * costs.bucket_code);
  }

  void measure();

  /// Looks at all buckets of table i whose number differs in `differing` bits from the query's.
  void look(Bits query, std::size_t i, int differing, const RowMask* allowed, FoundRows& found,
            Statistics& statistics) const;

  /// All within found's bound. False when it would take longer than `budget` nanoseconds; what is
  /// found then isn't all.
  bool search(Bits query, double budget, const RowMask* allowed, FoundRows& found,
              Statistics& statistics) const;

  /// search() for all queries; done(query, keys) with the sorted keys. Returns the queries that had
  /// better be scanned.
  std::vector<std::int64_t> search_all(
      CodesView queries, int bound, std::int64_t k, const RowMask* allowed, Statistics* statistics,
      const std::function<void(std::int64_t, const std::vector<std::uint64_t>&)>& done) const;
};

void MultiIndex::Tables::look(Bits query, std::size_t i, int differing, const RowMask* allowed,
                              FoundRows& found, Statistics& statistics) const {
  const SubstringTable& table = tables[i];
  const int bits = table.substring.bits;
  if (differing > bits) return;
  const std::uint32_t centre = table.substring.of(query);
  std::vector<std::uint32_t> buckets;
  if (differing == 0) {
    buckets.push_back(centre);
  } else {
    // All numbers below 2^bits with `differing` set bits, in ascending order (Gosper's way).
    std::uint64_t mask = (std::uint64_t{1} << differing) - 1;
    while (mask >> bits == 0) {
      buckets.push_back(centre ^ std::uint32_t(mask));
      const std::uint64_t lowest = mask & -mask, ripple = mask + lowest;
      mask = ripple | ((mask ^ ripple) >> 2) / lowest;
    }
  }
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
        finished[std::size_t(q)] =
            search(queries.row(q), budget, allowed, found, each[std::size_t(q)]);
        if (finished[std::size_t(q)]) done(q, std::move(found).sorted());
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
  constexpr double kNano = 1e9;
  // A batch keeps all threads busy, each with its own queries, as the lookups do.
  costs.scan_code = least_seconds([&] { scan.topk(queries, 1); }) * kNano * cpu::num_threads() /
                    double(rows * batch);
  costs.scan_code_alone =
      least_seconds([&] { scan.topk(queries.view().slice(0, 1), 1); }) * kNano / double(rows);

  const SubstringTable& table = tables.front();
  const auto all = std::uint32_t(rows);
  const std::uint32_t one_bucket[] = {0, all}, first[] = {0};
  cpu::NearCode near[kNearAtOnce];
  cpu::BucketScan together{.offsets = one_bucket,
                           .codes = table.codes.data(),
                           .query = database.words,
                           .buckets = first,
                           .bucket_count = 1,
                           .words = database.row_words(),
                           .bound = -1};
  costs.bucket_code = least_seconds([&] {
                        cpu::BucketScan once = together;
                        cpu::bucket_scan(once, near, kNearAtOnce);
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
    cpu::bucket_scan(apart, near, kNearAtOnce);
  });
  constexpr double kLeastProbe = 5;
  costs.probe =
      std::max(kLeastProbe, (probing * kNano - codes * costs.bucket_code) / double(buckets.size()));
}

MultiIndex::MultiIndex(CodesView database, const MultiIndexOptions& options)
    : tables_(std::make_unique<Tables>()) {
  check_bits(database.bits);
  HH_REQUIRE(database.count < (std::int64_t{1} << 32),
             "a multi-index of " << database.count << " codes: at most 2^32 - 1");
  HH_REQUIRE(options.substrings >= 0, "substrings = " << options.substrings);
  tables_->database = database;
  const auto substrings = cut(
      database.bits, options.substrings > 0 ? options.substrings
                                            : suitable_substrings(database.count, database.bits));
  tables_->tables.resize(substrings.size());
  cpu::parallel_chunks(std::int64_t(substrings.size()), [&](std::int64_t i) {
    tables_->tables[std::size_t(i)] = build_table(database, substrings[std::size_t(i)]);
  });
  tables_->measure();
}

MultiIndex::~MultiIndex() = default;
MultiIndex::MultiIndex(MultiIndex&&) noexcept = default;
MultiIndex& MultiIndex::operator=(MultiIndex&&) noexcept = default;

namespace {

PackedCodes gather(CodesView queries, const std::vector<std::int64_t>& which) {
  PackedCodes codes(std::int64_t(which.size()), queries.bits);
  for (std::size_t i = 0; i < which.size(); ++i) {
    std::ranges::copy(queries.row(which[i]), codes.row(std::int64_t(i)).begin());
  }
  return codes;
}

}  // namespace

TopkResult MultiIndex::topk(CodesView queries, std::int64_t k, const RowMask* allowed,
                            Statistics* statistics) const {
  check_search(tables_->database, queries, allowed);
  HH_REQUIRE(k >= 1, "k = " << k << ": ask for at least one result");
  const auto n = std::size_t(queries.count * k);
  TopkResult result{queries.count, k, std::vector<std::int64_t>(n, -1),
                    std::vector<std::int32_t>(n, -1)};
  const auto left = tables_->search_all(
      queries, tables_->database.bits + 1, k, allowed, statistics,
      [&](std::int64_t q, const std::vector<std::uint64_t>& keys) {
        for (std::size_t i = 0; i < keys.size(); ++i) {
          result.rows[std::size_t(q * k) + i] = FoundRows::row(keys[i]);
          result.distances[std::size_t(q * k) + i] = FoundRows::distance(keys[i]);
        }
      });
  if (left.empty()) return result;
  const TopkResult scanned = HammingScan(tables_->database).topk(gather(queries, left), k, allowed);
  for (std::size_t i = 0; i < left.size(); ++i) {
    const auto to = left[i] * k;
    std::ranges::copy(scanned.rows_of(std::int64_t(i)), result.rows.begin() + to);
    std::ranges::copy(scanned.distances_of(std::int64_t(i)), result.distances.begin() + to);
  }
  return result;
}

RadiusResult MultiIndex::radius(CodesView queries, int radius, const RowMask* allowed,
                                Statistics* statistics) const {
  check_search(tables_->database, queries, allowed);
  HH_REQUIRE(radius >= 0, "radius = " << radius << ": a distance can't be negative");
  std::vector<std::vector<std::uint64_t>> found(std::size_t(queries.count));
  const auto left = tables_->search_all(
      queries, std::min(radius, tables_->database.bits), FoundRows::kEverything, allowed,
      statistics, [&](std::int64_t q, const std::vector<std::uint64_t>& keys) {
        found[std::size_t(q)] = keys;
      });
  if (!left.empty()) {
    const RadiusResult scanned =
        HammingScan(tables_->database).radius(gather(queries, left), radius, allowed);
    for (std::size_t i = 0; i < left.size(); ++i) {
      const auto rows = scanned.rows_of(std::int64_t(i));
      const auto distances = scanned.distances_of(std::int64_t(i));
      for (std::size_t j = 0; j < rows.size(); ++j) {
        found[std::size_t(left[i])].push_back(FoundRows::key(distances[j], rows[j]));
      }
    }
  }
  RadiusResult result;
  result.offsets.push_back(0);
  for (const auto& keys : found) {
    for (const std::uint64_t key : keys) {
      result.rows.push_back(FoundRows::row(key));
      result.distances.push_back(FoundRows::distance(key));
    }
    result.offsets.push_back(std::int64_t(result.rows.size()));
  }
  return result;
}

int MultiIndex::substrings() const { return int(tables_->tables.size()); }

const SearchCosts& MultiIndex::costs() const { return tables_->costs; }

std::size_t MultiIndex::memory_bytes(std::int64_t count, int bits,
                                     const MultiIndexOptions& options) {
  check_bits(bits);
  return table_bytes(
      count, bits,
      cut(bits, options.substrings > 0 ? options.substrings : suitable_substrings(count, bits)));
}

}  // namespace hh::retrieval
