// SPDX-License-Identifier: Apache-2.0
// What an index has, for people and programs.
#pragma once
#include <string>

namespace hh::apps {

/// Opens the index, which checks it, and prints what it is: a table, or one line of JSON.
void print_index(const std::string& folder, bool json);

}  // namespace hh::apps
