// SPDX-License-Identifier: Apache-2.0
// What a CPU kernel says who calls it without its scratch memory (kernels/core/workspace.h).
#pragma once
#include "kernels/core/check.h"

/// After validate() in the run() of an op that may need scratch memory: none where some is needed
/// is refused before anything is written there. Throws std::invalid_argument.
#define HH_REQUIRE_WORKSPACE(args)                                      \
  HH_REQUIRE((args).workspace != nullptr || workspace_bytes(args) == 0, \
             "workspace is null: give it the " << workspace_bytes(args) \
                                               << " bytes that workspace_bytes(args) says")
