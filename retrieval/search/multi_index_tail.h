// SPDX-License-Identifier: Apache-2.0
// Search of a database that has grown since its tables were built: multi-index hashing for the rows
// that were there, a scan for those behind them. Answers are those of HammingScan.
#pragma once
#include <cstdint>

#include "retrieval/search/multi_index.h"

namespace hh::retrieval {

/// `head` was built of the first rows of `database`; `allowed` is of all rows.
TopkResult topk_with_tail(const MultiIndex& head, CodesView database, CodesView queries,
                          std::int64_t k, const RowMask* allowed = nullptr,
                          MultiIndex::Statistics* statistics = nullptr);
RadiusResult radius_with_tail(const MultiIndex& head, CodesView database, CodesView queries,
                              int radius, const RowMask* allowed = nullptr,
                              MultiIndex::Statistics* statistics = nullptr);

}  // namespace hh::retrieval
