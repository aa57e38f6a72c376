// SPDX-License-Identifier: Apache-2.0
// Errors of one rank as errors of all.
#pragma once
#include <functional>

#include "engine/distributed/communicator.h"

namespace hh {

/// Runs `work` on all ranks, and goes on when it went well on all. Else all end together: the first
/// rank on which it threw passes its exception on, the others throw OtherRankFailed. `work` speaks
/// to no other rank.
void together(Communicator& ranks, const std::function<void()>& work);

}  // namespace hh
