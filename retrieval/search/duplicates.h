// SPDX-License-Identifier: Apache-2.0
// Items of an index whose codes are so near that their pictures may be the same.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "retrieval/codes/row_mask.h"
#include "retrieval/index/index.h"

namespace hh::retrieval {

/// Rows that a chain of steps of at most `radius` bits joins, ascending; two or more.
struct DuplicateGroup {
  std::vector<std::int64_t> rows;
  std::vector<int> distances;  // of each to the first
};

/// Among the rows of the mask, groups in order of their first rows. `progress(done)` is told of rows, and
/// ends it with what was found so far by false. Exact. Throws std::invalid_argument.
std::vector<DuplicateGroup> find_duplicates(const Index& index, const RowMask& rows, int radius,
                                            const std::function<bool(std::int64_t done)>& progress);

}  // namespace hh::retrieval
