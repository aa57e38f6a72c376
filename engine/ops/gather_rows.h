// SPDX-License-Identifier: Apache-2.0
// Rows of all ranks.
#pragma once
#include <span>

#include "engine/distributed/communicator.h"
#include "engine/tensor/tensor.h"

namespace hh {

/// The rows [sum of rows, ...] of all ranks, in order of the ranks, out of this rank's
/// x [rows[ranks.rank()], ...] of any type; a rank may have none. rows [ranks.size()] is the same
/// on all. While a Tape records, the gradient of the result is taken for the same on all ranks
/// (each computes what follows on all rows), and x gets its own rows of it.
Tensor gather_rows(const Tensor& x, std::span<const std::int64_t> rows, Communicator& ranks);

}  // namespace hh
