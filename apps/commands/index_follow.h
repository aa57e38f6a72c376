// SPDX-License-Identifier: Apache-2.0
// Commands of `hybridhash index` on the files that its items are.
#pragma once
#include <CLI/CLI.hpp>

namespace hh::apps {

void add_index_sync(CLI::App& index);
void add_index_reencode(CLI::App& index);
void add_index_duplicates(CLI::App& index);

}  // namespace hh::apps
