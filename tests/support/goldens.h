// SPDX-License-Identifier: Apache-2.0
// The reference results: tests/goldens, and more of them in the folders that $HH_GOLDENS names,
// separated by ':'.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/source_dir.h"

namespace hh::testing {

inline std::filesystem::path goldens_dir() { return source_dir() / "tests" / "goldens"; }

/// PREFIX*.json in all of these folders, tests/goldens first, sorted by name in each.
inline std::vector<std::filesystem::path> golden_cases(const std::string& prefix) {
  std::vector<std::filesystem::path> folders{goldens_dir()}, cases;
  const char* named = std::getenv("HH_GOLDENS");
  std::istringstream more(named != nullptr ? named : "");
  for (std::string folder; std::getline(more, folder, ':');) {
    if (!folder.empty()) folders.emplace_back(folder);
  }
  for (const std::filesystem::path& folder : folders) {
    const auto begin = std::ptrdiff_t(cases.size());
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const std::filesystem::path& file = entry.path();
      if (file.extension() == ".json" && file.filename().string().starts_with(prefix)) {
        cases.push_back(file);
      }
    }
    std::sort(cases.begin() + begin, cases.end());
  }
  return cases;
}

}  // namespace hh::testing
