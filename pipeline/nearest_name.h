// SPDX-License-Identifier: Apache-2.0
// Which name was meant.
#pragma once
#include <string>
#include <vector>

namespace hh::pipeline {

/// The one of `names`, of which there is at least one, that takes the fewest letters inserted, left
/// out or replaced.
std::string nearest_name(const std::string& name, const std::vector<std::string>& names);

}  // namespace hh::pipeline
