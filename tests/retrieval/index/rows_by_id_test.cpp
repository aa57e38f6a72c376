// SPDX-License-Identifier: Apache-2.0
#include "retrieval/index/rows_by_id.h"

#include <catch2/catch.hpp>
#include <numeric>

#include "kernels/core/philox.h"
#include "retrieval/search/timing.h"

namespace hh::retrieval {
namespace {

using Ids = std::vector<std::int64_t>;

Ids linear(const Ids& ids, std::int64_t id) {
  Ids rows;
  for (std::size_t row = 0; row < ids.size(); ++row) {
    if (ids[row] == id) rows.push_back(std::int64_t(row));
  }
  return rows;
}

TEST_CASE("rows are found by id in whatever order ids come, and as they grow", "[rows_by_id]") {
  const Philox random(4, RandomPurpose::kTest);
  const int kind = GENERATE(0, 1, 2);
  CAPTURE(kind);
  Ids ids;
  std::uint64_t draw = 0;
  std::shared_ptr<LazyRowsById> rows = std::make_shared<LazyRowsById>();
  for (int step = 0; step < 80; ++step) {
    const std::uint32_t more = random.below(draw++, 6);
    for (std::uint32_t i = 0; i < more; ++i) {
      const auto next = std::int64_t(ids.size());
      ids.push_back(kind == 0   ? 2 * next                           // ascending
                    : kind == 1 ? (i == 0 ? next / 2 : 1000 + next)  // now and then an old one
                                : std::int64_t(random.below(draw++, 100)));
    }
    // Some states are never asked.
    if (step % 3 != 0) {
      const auto known = rows->get(ids);
      for (std::int64_t id = -1; id < 1500; ++id) REQUIRE(known->find(ids, id) == linear(ids, id));
    }
    rows = std::make_shared<LazyRowsById>(*rows);
  }
}

TEST_CASE("finding rows doesn't look at all ids", "[rows_by_id]") {
  Ids ids(2'000'000);
  std::iota(ids.begin(), ids.end(), 0);
  const bool ascending = GENERATE(true, false);
  if (!ascending) {
    for (std::size_t i = 0; i + 1 < ids.size(); i += 2) std::swap(ids[i], ids[i + 1]);
  }
  const RowsById rows(ids);
  std::int64_t sum = 0;
  const double one_scan =
      least_seconds([&] { sum += std::accumulate(ids.begin(), ids.end(), 0LL); });
  // A thousand lookups that looked at all would take a thousand scans.
  const double lookups = least_seconds([&] {
    for (std::int64_t i = 0; i < 1000; ++i) sum += rows.find(ids, i * 1999)[0];
  });
  CAPTURE(one_scan, lookups, sum);
  CHECK(lookups < 20 * one_scan);
}

}  // namespace
}  // namespace hh::retrieval
