// SPDX-License-Identifier: Apache-2.0
// The data that a recipe names: its data set, split and transforms.
#pragma once
#include <filesystem>

#include "data/experiments/protocol.h"
#include "pipeline/listener.h"
#include "pipeline/recipe.h"

namespace hh::pipeline {

inline constexpr const char* kSplitFile = "split.json";  // in a run folder

/// Opens the protocol, with the split of `saved_split` (written by a run) or, when that is empty,
/// of the recipe: listed in data.split_file or drawn by data.split_seed. The training transform has
/// the recipe's changes. Throws what open_protocol() throws.
/// A saved split is refused when its images aren't the data set's any more, unless
/// `allow_changed_data` (data/experiments/split_file.h).
data::Experiment open_experiment(const Recipe& recipe,
                                 const std::filesystem::path& saved_split = {},
                                 bool allow_changed_data = false);

/// Where the recipe has a data.cache: gives the experiment a data set that has the pictures of `items`
/// decoded there, and reports what it holds. Throws what data::with_cache() throws.
void use_cache(data::Experiment& experiment, const Recipe& recipe,
               const std::vector<std::int64_t>& items, const Listener& listener);

}  // namespace hh::pipeline
