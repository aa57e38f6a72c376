// SPDX-License-Identifier: Apache-2.0
// Where the reference results lie: $HH_GOLDENS, or ../shared/goldens beside the checkout.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <string>

namespace hh::testing {

inline std::filesystem::path goldens_dir() {
  if (const char* dir = std::getenv("HH_GOLDENS")) return dir;
  return std::filesystem::path(HH_SOURCE_DIR).parent_path() / "shared" / "goldens";
}

}  // namespace hh::testing
