// SPDX-License-Identifier: Apache-2.0
// Whether algorithms for GPUs are chosen by their times.
#pragma once
#include <filesystem>

#include "engine/device/tuning/product_choices.h"

namespace hh {

/// In place of what HH_TUNE says (0: they aren't). Before the first GPU is used.
void set_tuning(bool on);

/// Who chooses, for the life of the process; null when the libraries' own first choice is taken: that
/// was asked for, or no folder is known.
ProductChoices* tuning();

/// Where times are kept: hybridhash/ in $XDG_CACHE_HOME, or in .cache of the home folder. Empty where
/// neither is known.
std::filesystem::path tuning_folder();

}  // namespace hh
