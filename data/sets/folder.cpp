// SPDX-License-Identifier: Apache-2.0
#include "data/sets/folder.h"

#include <algorithm>
#include <cctype>
#include <stdexcept>
#include <string>
#include <vector>

namespace hh::data {
namespace {
namespace fs = std::filesystem;

bool is_image_name(const fs::path& path) {
  std::string ending = path.extension().string();
  for (char& c : ending) c = char(std::tolower(static_cast<unsigned char>(c)));
  for (const char* known : {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm"}) {
    if (ending == known) return true;
  }
  return false;
}

/// Also what macOS leaves beside each file on foreign disks: "._photo.jpg" is no image.
bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

/// Paths below `root`, relative to it, sorted by their bytes: no locale, no order of the disk.
std::vector<std::string> images_below(const fs::path& root, const fs::path& folder) {
  std::vector<std::string> found;
  // Links to folders aren't followed, so a loop of links can't trap us; links to files are.
  fs::recursive_directory_iterator at(folder), end;
  for (; at != end; ++at) {
    if (is_hidden(at->path())) {
      at.disable_recursion_pending();
      continue;
    }
    std::error_code ignored;  // a link that leads nowhere is listed, and found missing later
    if (is_image_name(at->path()) && !at->is_directory(ignored)) {
      found.push_back(at->path().lexically_relative(root).string());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

void require_folder(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) {
    throw std::runtime_error(folder.string() + ": there is no such folder");
  }
}

}  // namespace

std::unique_ptr<Dataset> open_folder(const fs::path& folder, const DecodeOptions& decode) {
  require_folder(folder);
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    std::error_code ignored;
    if (entry.is_directory(ignored) && !is_hidden(entry.path())) {
      names.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  if (names.empty()) {
    throw std::runtime_error(folder.string() + ": it holds no class folders (one folder a class)");
  }
  std::vector<FileDataset::Item> items;
  std::vector<int> classes;
  for (std::size_t c = 0; c < names.size(); ++c) {
    for (std::string& path : images_below(folder, folder / names[c])) {
      items.push_back({std::move(path), 0, 0});
      classes.push_back(int(c));
    }
  }
  if (items.empty()) {
    throw std::runtime_error(folder.string() + ": its class folders hold no images");
  }
  Labels labels(std::int64_t(items.size()), int(names.size()));
  for (std::size_t i = 0; i < items.size(); ++i) labels.set(std::int64_t(i), classes[i]);
  return std::make_unique<FileDataset>(folder, std::vector<std::string>{}, std::move(items),
                                       std::move(labels), std::move(names), decode);
}

std::unique_ptr<Dataset> open_images(const fs::path& folder, const DecodeOptions& decode) {
  require_folder(folder);
  std::vector<FileDataset::Item> items;
  for (std::string& path : images_below(folder, folder)) items.push_back({std::move(path), 0, 0});
  if (items.empty()) throw std::runtime_error(folder.string() + ": it holds no images");
  Labels labels(std::int64_t(items.size()), 1);
  return std::make_unique<FileDataset>(folder, std::vector<std::string>{}, std::move(items),
                                       std::move(labels), std::vector<std::string>{}, decode);
}

}  // namespace hh::data
