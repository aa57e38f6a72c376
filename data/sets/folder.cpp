// SPDX-License-Identifier: Apache-2.0
#include "data/sets/folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "engine/text/counted.h"
#include "engine/text/utf8.h"

namespace hh::data {
namespace {
namespace fs = std::filesystem;

/// In lower case, with its dot; empty if there is none.
std::string ending_of(const fs::path& path) {
  std::string ending = path.extension().string();
  for (char& c : ending) c = char(std::tolower(static_cast<unsigned char>(c)));
  return ending;
}

bool is_image_ending(const std::string& ending) {
  for (const char* known : {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif",
                            ".tiff", ".bmp", ".dib", ".pbm", ".pgm", ".ppm", ".pnm"}) {
    if (ending == known) return true;
  }
  for (const char* known : {".heic", ".heif", ".hif", ".avif"}) {
    if (ending == known) return reads_heif();
  }
  return false;
}

/// What systems put beside people's files: macOS's "._photo.jpg" is no image, nor are the small
/// copies that a Synology box keeps in @eaDir.
bool is_of_the_system(const fs::path& path) {
  const std::string name = path.filename().string();
  if (name.starts_with('.')) return true;
  for (const char* known : {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information",
                            "lost+found", "Thumbs.db", "desktop.ini"}) {
    if (name == known) return true;
  }
  return false;
}

/// Walks folders, each once wherever links lead, and counts what it passes over.
class Walk {
 public:
  /// Its files aren't wanted when a link leads to it.
  void skip(const fs::path& folder) { enter(folder); }

  /// Notes a folder that systems leave behind.
  void pass_over(const fs::path& path) {
    std::error_code ignored;
    const std::string name = path.filename().string();
    if (!name.starts_with('.') && fs::is_directory(path, ignored)) ++passed_over_[name + "/"];
  }

  /// Images below `folder`, relative to `root`, sorted by their bytes: no locale, no order of the
  /// disk.
  std::vector<std::string> images_below(const fs::path& root, const fs::path& folder) {
    found_.clear();
    std::vector<fs::path> links;
    visit(root, folder, links);
    // Links come last: what is there itself is listed under its own name.
    for (std::size_t i = 0; i < links.size(); ++i) {
      std::sort(links.begin() + std::ptrdiff_t(i), links.end());
      const fs::path link = links[i];
      visit(root, link, links);
    }
    std::sort(found_.begin(), found_.end());
    return found_;
  }

  /// Relative to `root`, of all calls so far.
  const std::vector<std::string>& dangling() const { return dangling_; }

  /// One line, or none.
  std::vector<std::string> notes() const {
    if (passed_over_.empty()) return {};
    std::vector<std::pair<std::int64_t, std::string>> most;
    for (const auto& [ending, count] : passed_over_) most.emplace_back(-count, ending);
    std::sort(most.begin(), most.end());
    constexpr std::size_t kShown = 8;
    std::string line = "passed over:";
    std::int64_t others = 0;
    for (std::size_t i = 0; i < most.size(); ++i) {
      if (i >= kShown) {
        others -= most[i].first;
      } else {
        line += (i == 0 ? " " : ", ") + std::to_string(-most[i].first) + " " + most[i].second;
      }
    }
    if (others > 0) line += ", " + std::to_string(others) + " others";
    return {line};
  }

 private:
  /// False when it was entered before.
  bool enter(const fs::path& folder) {
    struct stat status {};
    if (::stat(folder.c_str(), &status) != 0) return false;
    return seen_.emplace(status.st_dev, status.st_ino).second;
  }

  void visit(const fs::path& root, const fs::path& folder, std::vector<fs::path>& links) {
    if (!enter(folder)) {
      ++passed_over_["folder again, by a link"];
      return;
    }
    std::vector<fs::path> folders;
    std::error_code error;
    for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
      if (is_of_the_system(at->path())) {
        pass_over(at->path());
        continue;
      }
      std::error_code ignored;  // a link that leads nowhere is listed, and found missing later
      if (at->is_directory(ignored)) {
        (at->is_symlink(ignored) ? links : folders).push_back(at->path());
        continue;
      }
      const std::string ending = ending_of(at->path());
      if (is_image_ending(ending)) {
        found_.push_back(at->path().lexically_relative(root).string());
      } else if (at->is_symlink(ignored) && !at->exists(ignored)) {
        dangling_.push_back(at->path().lexically_relative(root).string());
        ++passed_over_["link that leads nowhere"];
      } else {
        ++passed_over_[ending.empty() ? "without ending" : ending];
      }
    }
    if (error) throw std::runtime_error(folder.string() + ": can't be read: " + error.message());
    std::sort(folders.begin(), folders.end());
    for (const fs::path& next : folders) visit(root, next, links);
  }

  std::set<std::pair<dev_t, ino_t>> seen_;
  std::map<std::string, std::int64_t> passed_over_;
  std::vector<std::string> found_, dangling_;
};

void require_folder(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) {
    throw std::runtime_error(folder.string() + ": there is no such folder; give the path of one");
  }
}

/// A line on images that lie in no class folder, or none.
std::vector<std::string> note_of_loose(std::vector<std::string> loose) {
  if (loose.empty()) return {};
  std::sort(loose.begin(), loose.end());
  return {"left out: " + counted(loose.size(), "image") + " beside the class folders (" +
          as_utf8(loose[0]) + (loose.size() > 1 ? ", ...)" : ")")};
}

}  // namespace

bool is_image_path(const fs::path& path) {
  return is_image_ending(ending_of(path)) &&
         std::none_of(path.begin(), path.end(), [](const fs::path& part) {
           return part != "." && part != ".." && is_of_the_system(part);
         });
}

std::unique_ptr<FileDataset> open_folder(const fs::path& folder, const DecodeOptions& decode) {
  require_folder(folder);
  Walk walk;
  std::vector<std::string> names, loose;
  for (const auto& entry : fs::directory_iterator(folder)) {
    std::error_code ignored;
    if (is_of_the_system(entry.path())) {
      walk.pass_over(entry.path());
    } else if (entry.is_directory(ignored)) {
      names.push_back(entry.path().filename().string());
    } else if (is_image_ending(ending_of(entry.path()))) {
      loose.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  if (names.empty()) {
    throw std::runtime_error(
        folder.string() + ": it holds no class folders: put the images into one folder a class" +
        (loose.empty() ? "" : ", or give the folder above if this is one of the classes"));
  }
  walk.skip(folder);
  std::vector<FileDataset::Item> items;
  std::vector<int> classes;
  std::vector<std::string> class_names, empty;
  for (const std::string& name : names) {
    std::vector<std::string> paths = walk.images_below(folder, folder / name);
    if (paths.empty()) {
      empty.push_back(name);
      continue;
    }
    for (std::string& path : paths) {
      items.push_back({std::move(path), 0, 0});
      classes.push_back(int(class_names.size()));
    }
    class_names.push_back(as_utf8(name));
  }
  std::vector<std::string> notes = walk.notes();
  for (std::string& note : note_of_loose(std::move(loose))) notes.push_back(std::move(note));
  for (const std::string& name : empty) {
    notes.push_back("left out: the class folder " + as_utf8(name) + " holds no image");
  }
  if (items.empty()) {
    throw std::runtime_error(
        folder.string() +
        ": its class folders hold no images (.jpg, .png, .webp, .gif, .tif and the like)" +
        (notes.empty() ? "" : " (" + notes.front() + ")"));
  }
  Labels labels(std::int64_t(items.size()), int(class_names.size()));
  for (std::size_t i = 0; i < items.size(); ++i) labels.set(std::int64_t(i), classes[i]);
  return std::make_unique<FileDataset>(folder, std::vector<std::string>{}, std::move(items),
                                       std::move(labels), std::move(class_names), decode,
                                       std::move(notes));
}

ImageFiles list_images(const fs::path& folder) {
  require_folder(folder);
  Walk walk;
  ImageFiles files{.paths = walk.images_below(folder, folder), .dangling = {}, .notes = {}};
  files.dangling = walk.dangling();
  files.notes = walk.notes();
  return files;
}

std::unique_ptr<Dataset> open_images(const fs::path& folder, const DecodeOptions& decode) {
  auto [paths, dangling, notes] = list_images(folder);
  std::vector<FileDataset::Item> items;
  for (std::string& path : paths) items.push_back({std::move(path), 0, 0});
  if (items.empty()) {
    throw std::runtime_error(folder.string() +
                             ": it holds no images (.jpg, .png, .webp, .gif, .tif and the like)" +
                             (notes.empty() ? "" : " (" + notes.front() + ")"));
  }
  Labels labels(std::int64_t(items.size()), 1);
  return std::make_unique<FileDataset>(folder, std::vector<std::string>{}, std::move(items),
                                       std::move(labels), std::vector<std::string>{}, decode,
                                       std::move(notes));
}

}  // namespace hh::data
