// SPDX-License-Identifier: Apache-2.0
#include "retrieval/search/multi_index_tail.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

namespace hh::retrieval {
namespace {

/// The masks of the first rows and of the others.
struct SplitMask {
  SplitMask(const RowMask* allowed, std::int64_t rows) {
    if (allowed == nullptr) return;
    head = allowed->slice(0, rows);
    tail = allowed->slice(rows, allowed->rows());
  }
  static const RowMask* pointer(const std::optional<RowMask>& mask) {
    return mask ? &*mask : nullptr;
  }
  std::optional<RowMask> head, tail;
};

/// Two lists in order of distance and row into one; rows of the second count from `first`, and come
/// behind those of the first list.
class Merged {
 public:
  Merged(std::span<const std::int64_t> rows, std::span<const std::int32_t> distances,
         std::span<const std::int64_t> more_rows, std::span<const std::int32_t> more_distances,
         std::int64_t first) {
    std::size_t i = 0, j = 0;
    const auto end = [](auto list) {
      return std::size_t(std::find(list.begin(), list.end(), -1) - list.begin());
    };
    const std::size_t n = end(rows), m = end(more_rows);
    while (i < n || j < m) {
      if (j == m || (i < n && distances[i] <= more_distances[j])) {
        all_.emplace_back(rows[i], distances[i]), ++i;
      } else {
        all_.emplace_back(first + more_rows[j], more_distances[j]), ++j;
      }
    }
  }
  const std::vector<std::pair<std::int64_t, std::int32_t>>& all() const { return all_; }

 private:
  std::vector<std::pair<std::int64_t, std::int32_t>> all_;
};

}  // namespace

TopkResult topk_with_tail(const MultiIndex& head, CodesView database, CodesView queries,
                          std::int64_t k, const RowMask* allowed,
                          MultiIndex::Statistics* statistics) {
  check_search(database, queries, allowed);
  const std::int64_t first = head.count();
  if (first == database.count) return head.topk(queries, k, allowed, statistics);
  const SplitMask masks(allowed, first);
  TopkResult near = head.topk(queries, k, SplitMask::pointer(masks.head), statistics);
  const TopkResult behind = HammingScan(database.slice(first, database.count))
                                .topk(queries, k, SplitMask::pointer(masks.tail));
  for (std::int64_t q = 0; q < queries.count; ++q) {
    const Merged merged(near.rows_of(q), near.distances_of(q), behind.rows_of(q),
                        behind.distances_of(q), first);
    const auto count = std::min(std::size_t(k), merged.all().size());
    for (std::size_t i = 0; i < count; ++i) {
      const auto at = std::size_t(q * k) + i;
      std::tie(near.rows[at], near.distances[at]) = merged.all()[i];
    }
  }
  return near;
}

RadiusResult radius_with_tail(const MultiIndex& head, CodesView database, CodesView queries,
                              int radius, const RowMask* allowed,
                              MultiIndex::Statistics* statistics) {
  check_search(database, queries, allowed);
  const std::int64_t first = head.count();
  if (first == database.count) return head.radius(queries, radius, allowed, statistics);
  const SplitMask masks(allowed, first);
  const RadiusResult near =
      head.radius(queries, radius, SplitMask::pointer(masks.head), statistics);
  const RadiusResult behind = HammingScan(database.slice(first, database.count))
                                  .radius(queries, radius, SplitMask::pointer(masks.tail));
  RadiusResult result;
  result.offsets.push_back(0);
  for (std::int64_t q = 0; q < queries.count; ++q) {
    const Merged merged(near.rows_of(q), near.distances_of(q), behind.rows_of(q),
                        behind.distances_of(q), first);
    for (const auto& [row, distance] : merged.all()) {
      result.rows.push_back(row);
      result.distances.push_back(distance);
    }
    result.offsets.push_back(std::int64_t(result.rows.size()));
  }
  return result;
}

}  // namespace hh::retrieval
