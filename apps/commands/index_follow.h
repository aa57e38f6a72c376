// SPDX-License-Identifier: Apache-2.0
// Commands of `hybridhash index` that have files of their own: on the pictures that its items are, and on
// collections of other servers.
#pragma once
#include "apps/commands/command_line.h"

namespace hh::apps {

void add_index_sync(Command index);
void add_index_reencode(Command index);
void add_index_duplicates(Command index);
void add_index_push(Command index);
void add_index_pull(Command index);

}  // namespace hh::apps
