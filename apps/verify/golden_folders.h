// SPDX-License-Identifier: Apache-2.0
// Where `hybridhash verify` finds reference cases when it is told none.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "apps/verify/cases.h"

namespace hh::apps {

/// Where to look. The program's own cases lie in one of the first three folders; named ones come on
/// top.
struct GoldenPlaces {
  std::filesystem::path installed;  // share/hybridhash/goldens beside the program's folder
  std::filesystem::path beside;     // goldens in the program's folder, as the Python package has it
  std::filesystem::path source;     // tests/goldens of the tree that the program was built from
  std::string named;                // HH_GOLDENS: folders separated by ':'; may be empty

  /// Of the running program.
  static GoldenPlaces of_this_program();
};

/// The folders that are there, in the order above; of the first three the first
/// that is there. Throws
/// std::invalid_argument when there is none, or when one that was named isn't there.
std::vector<std::filesystem::path> golden_folders(const GoldenPlaces& places);

struct FoundCase {
  std::filesystem::path path;
  std::optional<CaseKind> kind;  // nothing: the file can't be parsed; running it says why
};

/// The JSON files in these folders that are cases, by folder and name. One that equals an earlier
/// one in name and bytes, tensors included, is left out.
std::vector<FoundCase> find_cases(const std::vector<std::filesystem::path>& folders);

}  // namespace hh::apps
