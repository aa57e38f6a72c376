// SPDX-License-Identifier: Apache-2.0
// Commands of `hybridhash index` that have files of their own: on the pictures that its items are, and on
// collections of other servers.
#pragma once
#include <CLI/CLI.hpp>

namespace hh::apps {

void add_index_sync(CLI::App& index);
void add_index_reencode(CLI::App& index);
void add_index_duplicates(CLI::App& index);
void add_index_push(CLI::App& index);
void add_index_pull(CLI::App& index);

}  // namespace hh::apps
