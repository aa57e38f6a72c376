// SPDX-License-Identifier: Apache-2.0
// The tree that the tests were built from: for files that they read.
#pragma once
#include <filesystem>

namespace hh::testing {

std::filesystem::path source_dir();

}  // namespace hh::testing
