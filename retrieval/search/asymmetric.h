// SPDX-License-Identifier: Apache-2.0
// Searches that use the network's real-valued outputs, which say more than their signs.
//
//   asymmetric distance of a real query u and a code b:  sum over bits with sign(u_j) != b_j of
//   |u_j|  =  (sum_j |u_j| - u . b) / 2,  b in {-1, +1}
//
// For u in {-1, +1} it is the Hamming distance. Results are ordered by distance, then by row.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "retrieval/codes/codes.h"
#include "retrieval/codes/row_mask.h"
#include "retrieval/search/hamming_scan.h"

namespace hh::retrieval {

struct RealResult {
  std::int64_t queries = 0, k = 0;
  std::vector<std::int64_t> rows;  // [queries, k], nearest first; -1 where there are fewer
  std::vector<float> distances;    // [queries, k]; NaN where there are fewer
};

/// The k rows of smallest asymmetric distance to each of the queries [count, bits]. Values must be
/// finite. Throws std::invalid_argument.
RealResult asymmetric_topk(CodesView database, std::span<const float> queries, std::int64_t k,
                           const RowMask* allowed = nullptr);

/// The first k of `candidates`, put in order of the squared Euclidean distance between the real
/// outputs: queries [candidates.queries, bits], database outputs [rows, bits].
RealResult rerank(const TopkResult& candidates, std::span<const float> queries,
                  std::span<const float> database_outputs, int bits, std::int64_t k);

}  // namespace hh::retrieval
