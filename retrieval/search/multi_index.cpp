// SPDX-License-Identifier: Apache-2.0
#include "retrieval/search/multi_index.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/core/parallel.h"
#include "retrieval/search/multi_index_tables.h"

namespace hh::retrieval {

MultiIndex::MultiIndex(CodesView database, const MultiIndexOptions& options)
    : tables_(std::make_unique<Tables>()) {
  check_bits(database.bits);
  HH_REQUIRE(
      database.count < (std::int64_t{1} << 32),
      "a multi-index of " << database.count << " codes: at most 2^32 - 1; use --method scan");
  HH_PRECONDITION(options.substrings >= 0, "substrings = " << options.substrings);
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

std::int64_t MultiIndex::count() const { return tables_->database.count; }

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
