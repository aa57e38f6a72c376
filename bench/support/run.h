// SPDX-License-Identifier: Apache-2.0
// One run of the suite.
#pragma once
#include <vector>

#include "bench/support/options.h"
#include "bench/support/record.h"

namespace hh::bench {

/// Runs, or with `list` only prints the names of, the cases that the options choose.
std::vector<Record> run(const Options& options, bool list);

}  // namespace hh::bench
