// SPDX-License-Identifier: Apache-2.0
// Whether ranks that train together still have the same network.
#pragma once
#include <filesystem>

#include "model/training/trainer.h"

namespace hh {

/// Compares the XXH64 of each parameter's weights over the ranks, all of which call it. When they
/// differ all end together: rank 0 throws std::runtime_error with the first rank and parameter. `read_from`: the
/// file that each has just read them from, if any: then that is what differs.
void check_same_weights(Trainer& trainer, const std::filesystem::path& read_from = {});

}  // namespace hh
