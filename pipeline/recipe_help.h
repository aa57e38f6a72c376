// SPDX-License-Identifier: Apache-2.0
// What docs/recipes.md says of a recipe's keys. The page is part of the program, so that both say the same.
#pragma once
#include <string>

namespace hh::pipeline {

/// docs/recipes.md; its text is put here when the program is built.
extern const char* const kRecipePage;

/// Lines of TOML comment, "# ...\n", of meaning, unit, values and default; empty for an unknown key.
std::string recipe_comment(const std::string& key);

}  // namespace hh::pipeline
