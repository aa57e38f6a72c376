// SPDX-License-Identifier: Apache-2.0
// Whole files as text.
#pragma once
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace hh::testing {

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace hh::testing
