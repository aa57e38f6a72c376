// SPDX-License-Identifier: Apache-2.0
// Average precision of one query from counts by distance, under each rule for ties. Items at one
// distance have no order of their own, so a ranking needs a rule:
//   stable    by database row (the reference leaves it to numpy's unstable sort)
//   expected  the mean over all orders, in closed form (docs/specification.md, section 5)
//   best      relevant items first;  worst: relevant items last
// AP = 1/n sum_i i / t_i over the hits at ranks t_1 < ... < t_n inside the first k: divided by the
// hits found there, not by all relevant items. No hit: 0. Source: docs/specification.md, section 5.
#pragma once
#include <cstdint>
#include <span>

namespace hh::retrieval {

/// Of one query: how many database items lie at each distance, and how many of those are relevant.
struct DistanceCounts {
  std::span<const std::uint32_t> retrieved;  // [bits + 1]
  std::span<const std::uint32_t> relevant;   // [bits + 1]
};

// k >= 0 ranks count; more than there are items means all.
double expected_average_precision(const DistanceCounts& counts, std::int64_t k);
double best_average_precision(const DistanceCounts& counts, std::int64_t k);
double worst_average_precision(const DistanceCounts& counts, std::int64_t k);

}  // namespace hh::retrieval
