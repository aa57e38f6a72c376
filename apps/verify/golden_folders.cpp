// SPDX-License-Identifier: Apache-2.0
#include "apps/verify/golden_folders.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

namespace hh::apps {
namespace fs = std::filesystem;
namespace {

/// The case of a JSON file; nothing if it is no case.
std::optional<FoundCase> case_at(const fs::path& path) {
  try {
    const auto kind = kind_of(read_case(path));
    if (!kind.has_value()) return std::nullopt;
    return FoundCase{path, kind};
  } catch (const std::exception&) {
    return FoundCase{path, std::nullopt};
  }
}

bool equal_files(const fs::path& a, const fs::path& b) {
  std::ifstream left(a, std::ios::binary), right(b, std::ios::binary);
  using Bytes = std::istreambuf_iterator<char>;
  return left && right && std::equal(Bytes(left), Bytes(), Bytes(right), Bytes());
}

/// Whether the file is one of `cases` again, tensors included.
bool is_repeated(const fs::path& file, const std::vector<FoundCase>& cases) {
  return std::any_of(cases.begin(), cases.end(), [&](const FoundCase& other) {
    return other.path.filename() == file.filename() && equal_files(other.path, file) &&
           equal_files(GoldenCase{other.path}.sibling(".safetensors"),
                       GoldenCase{file}.sibling(".safetensors"));
  });
}

}  // namespace

GoldenPlaces GoldenPlaces::of_this_program() {
  const fs::path program = fs::read_symlink("/proc/self/exe");
  const char* named = std::getenv("HH_GOLDENS");
  return {program.parent_path().parent_path() / "share/hybridhash/goldens",
          program.parent_path() / "goldens", fs::path(HH_SOURCE_DIR) / "tests/goldens",
          named != nullptr ? named : ""};
}

std::vector<fs::path> golden_folders(const GoldenPlaces& places) {
  std::vector<fs::path> folders;
  const std::array own{places.installed, places.beside, places.source};
  const auto found = std::find_if(own.begin(), own.end(),
                                  [](const auto& place) { return fs::is_directory(place); });
  if (found != own.end()) folders.push_back(*found);
  std::istringstream named(places.named);
  for (std::string folder; std::getline(named, folder, ':');) {
    if (folder.empty()) continue;
    if (!fs::is_directory(folder)) {
      throw std::invalid_argument("HH_GOLDENS names " + folder + ", which is no folder");
    }
    folders.push_back(folder);
  }
  if (folders.empty()) {
    throw std::invalid_argument("there are no reference cases: looked in " +
                                places.installed.string() + ", " + places.beside.string() +
                                " and " + places.source.string() +
                                "; name a CASE.json, or folders in HH_GOLDENS");
  }
  return folders;
}

std::vector<FoundCase> find_cases(const std::vector<fs::path>& folders) {
  std::vector<FoundCase> cases;
  for (const fs::path& folder : folders) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() == ".json") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files) {
      if (const auto found = case_at(file); found && !is_repeated(file, cases)) {
        cases.push_back(*found);
      }
    }
  }
  return cases;
}

}  // namespace hh::apps
