// SPDX-License-Identifier: Apache-2.0
#include "retrieval/search/duplicates.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>

#include "kernels/core/check.h"
#include "retrieval/search/choice.h"
#include "retrieval/search/hamming_scan.h"
#include "retrieval/search/multi_index.h"

namespace hh::retrieval {
namespace {

/// Which rows belong together.
class Sets {
 public:
  explicit Sets(std::int64_t rows) : parent_(std::size_t(rows)) {
    std::iota(parent_.begin(), parent_.end(), std::int64_t{0});
  }
  /// The first row of its set.
  std::int64_t first(std::int64_t row) {
    while (parent_[std::size_t(row)] != row) {
      std::int64_t& above = parent_[std::size_t(row)];
      above = parent_[std::size_t(above)];
      row = above;
    }
    return row;
  }
  void join(std::int64_t a, std::int64_t b) {
    a = first(a);
    b = first(b);
    parent_[std::size_t(std::max(a, b))] = std::min(a, b);
  }

 private:
  std::vector<std::int64_t> parent_;  // none is larger than its row
};

}  // namespace

std::vector<DuplicateGroup> find_duplicates(
    const Index& index, const RowMask& rows, int radius,
    const std::function<bool(std::int64_t done)>& progress) {
  HH_REQUIRE(radius >= 0 && radius <= index.bits(),
             "radius " << radius << ": use 0 to " << index.bits() << ", the bits of a code");
  const CodesView codes = index.codes();
  const HammingScan scan(codes);
  std::optional<MultiIndex> tables;
  if (choose_for_radius(codes, codes, radius, memory_for_tables()).multi_index) {
    tables.emplace(codes);
  }
  // So that what one batch finds fits into memory even where all codes are equal.
  constexpr std::int64_t kMostFound = std::int64_t{1} << 24;
  const std::int64_t batch =
      std::clamp<std::int64_t>(kMostFound / std::max<std::int64_t>(index.rows(), 1), 1, 1024);
  Sets sets(index.rows());
  for (std::int64_t begin = 0; begin < index.rows(); begin += batch) {
    if (!progress(begin)) break;
    const std::int64_t end = std::min(begin + batch, index.rows());
    const CodesView queries = codes.slice(begin, end);
    const RadiusResult found =
        tables ? tables->radius(queries, radius, &rows) : scan.radius(queries, radius, &rows);
    for (std::int64_t q = 0; q < end - begin; ++q) {
      if (!rows.test(begin + q)) continue;
      for (const std::int64_t row : found.rows_of(q)) sets.join(begin + q, row);
    }
  }
  std::map<std::int64_t, DuplicateGroup> groups;
  for (std::int64_t row = 0; row < index.rows(); ++row) {
    if (!rows.test(row)) continue;
    const std::int64_t first = sets.first(row);
    groups[first].rows.push_back(row);
    groups[first].distances.push_back(hamming_distance(codes.row(first), codes.row(row)));
  }
  std::vector<DuplicateGroup> all;
  for (auto& [first, group] : groups) {
    if (group.rows.size() > 1) all.push_back(std::move(group));
  }
  return all;
}

}  // namespace hh::retrieval
