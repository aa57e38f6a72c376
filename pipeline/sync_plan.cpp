// SPDX-License-Identifier: Apache-2.0
#include "pipeline/sync_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "data/sets/folder.h"
#include "engine/files/file.h"
#include "engine/text/counted.h"
#include "engine/text/json_text.h"
#include "engine/text/utf8.h"
#include "kernels/core/check.h"

namespace hh::pipeline {
namespace {
namespace fs = std::filesystem;

constexpr const char* kRememberedFile = "sync.json";

/// Without "..", and without a slash at its end.
fs::path whole(const fs::path& path) {
  const fs::path normal = fs::absolute(path).lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

fs::path common_parent(const std::vector<fs::path>& folders) {
  fs::path common = folders.front();
  for (const fs::path& folder : folders) {
    const auto differs = std::mismatch(common.begin(), common.end(), folder.begin(), folder.end());
    fs::path shared;
    for (auto part = common.begin(); part != differs.first; ++part) shared /= *part;
    common = shared;
  }
  return common;
}

/// "" where the folder is the image root, else "beach/".
std::string prefix_of(const fs::path& folder, const fs::path& image_root) {
  const fs::path below = folder.lexically_relative(image_root);
  if (below == ".") return "";
  if (below.empty() || *below.begin() == "..") return "..";
  return below.string() + "/";
}

/// Makes one plan.
class Planner {
 public:
  Planner(const retrieval::Index* index, const SyncRoots& roots, bool class_folders,
          const Listener& listener)
      : index_(index), roots_(roots), class_folders_(class_folders), listener_(listener) {
    plan_.class_folders = class_folders;
  }

  void list_files();
  void compare();
  void find_moved();
  /// Throws where there is nothing to make a new index of.
  void check_new() const;
  /// Throws where a root lost all of its files.
  void check_empty() const;
  SyncPlan plan() && { return std::move(plan_); }

 private:
  struct Missing {
    std::int64_t id;
    std::string path;
    FileRecord record;
    bool ours;  // lies in one of the roots
  };
  void compare_item(const retrieval::IndexItem& item);
  bool ours(const std::string& path) const {
    return std::any_of(prefixes_.begin(), prefixes_.end(),
                       [&](const std::string& prefix) { return path.starts_with(prefix); });
  }
  bool other_class(const SyncFile& file, const retrieval::Description& description) const {
    if (!class_folders_) return false;
    std::vector<std::string> names;
    for (const int c : description.labels) names.push_back(index_->class_name(c));
    return names !=
           (file.label.empty() ? std::vector<std::string>{} : std::vector<std::string>{file.label});
  }
  /// False, with a warning, where the file can't be read.
  bool read(SyncFile& file);

  const retrieval::Index* index_;
  const SyncRoots& roots_;
  bool class_folders_;
  const Listener& listener_;
  std::vector<std::string> prefixes_;
  std::map<std::string, SyncFile> files_;  // those that aren't dealt with, by path
  std::vector<std::string> unreadable_;    // sorted by listing; kept as they are in the index
  std::vector<std::string> away_;          // folders behind links that lead nowhere, kept likewise
  std::vector<Missing> missing_;
  std::vector<std::int64_t> found_, items_;  // of each root: files, items
  SyncPlan plan_;
};

void Planner::list_files() {
  for (const fs::path& folder : roots_.folders) {
    const std::string prefix = prefix_of(folder, roots_.image_root);
    prefixes_.push_back(prefix);
    const data::ImageFiles listed = data::list_images(folder);
    found_.push_back(std::int64_t(listed.paths.size()));
    for (const std::string& note : listed.notes) {
      plan_.warnings.push_back(folder.string() + ": " + note);
    }
    for (const std::string& link : listed.dangling) {
      plan_.warnings.push_back(prefix + link +
                               ": a link that leads nowhere: what the index has below it is kept");
      away_.push_back(prefix + link + "/");
    }
    for (const std::string& below : listed.paths) {
      SyncFile file{.path = prefix + below};
      const std::size_t slash = below.find('/');
      if (class_folders_ && slash != std::string::npos) {
        file.label = as_utf8(below.substr(0, slash));
      }
      if (const auto record = record_of(roots_.image_root / file.path)) {
        file.record = *record;
        files_.emplace(file.path, std::move(file));
      } else {
        plan_.warnings.push_back(file.path + ": can't be looked at");
        unreadable_.push_back(file.path);
      }
    }
  }
  items_.resize(prefixes_.size());
}

bool Planner::read(SyncFile& file) {
  if (file.known) return true;
  try {
    file.record.checksum = checksum_of(roots_.image_root / file.path);
    file.known = true;
  } catch (const std::runtime_error& error) {
    plan_.warnings.push_back(error.what());
  }
  return file.known;
}

void Planner::compare_item(const retrieval::IndexItem& item) {
  const retrieval::Description& description = item.description;
  const auto record = record_in(description.metadata);
  for (std::size_t r = 0; r < prefixes_.size(); ++r) {
    if (record && description.path.starts_with(prefixes_[r])) ++items_[r];
  }
  const auto found = files_.find(description.path);
  if (found == files_.end()) {
    const bool kept =
        std::find(unreadable_.begin(), unreadable_.end(), description.path) != unreadable_.end() ||
        std::any_of(away_.begin(), away_.end(), [&](const std::string& folder) {
          return description.path.starts_with(folder);
        });
    const bool lies_here = ours(description.path);
    if (record && !kept && (lies_here || !record_of(roots_.image_root / description.path))) {
      missing_.push_back({item.id, description.path, *record, lies_here});
    } else {
      ++plan_.others;
    }
    return;
  }
  SyncFile file = std::move(found->second);
  files_.erase(found);
  file.id = item.id;
  const bool same_time = record && record->same_time(file.record);
  if (same_time) {
    file.record.checksum = record->checksum;
    file.known = true;
  }
  const bool same = same_time || (record && record->bytes == file.record.bytes && read(file) &&
                                  record->same_content(file.record));
  if (!same) {
    plan_.encode.push_back(std::move(file));
  } else if (!same_time || other_class(file, description)) {
    plan_.describe.push_back(std::move(file));
  } else {
    ++plan_.same;
  }
}

void Planner::compare() {
  if (index_ == nullptr) return;
  Progress progress(listener_, "comparing", index_->rows());
  for (std::int64_t row = 0; row < index_->rows(); ++row) {
    if (index_->is_live(row)) compare_item(index_->item(row));
    if (row % 256 == 0) progress.update(row);
  }
}

void Planner::find_moved() {
  std::unordered_multimap<std::int64_t, std::size_t> by_bytes;
  for (std::size_t i = 0; i < missing_.size(); ++i) {
    by_bytes.emplace(missing_[i].record.bytes, i);
  }
  std::vector<bool> moved(missing_.size());
  Progress progress(listener_, "looking for what moved", std::int64_t(files_.size()));
  std::int64_t done = 0;
  for (auto& entry : files_) {
    SyncFile& file = entry.second;
    progress.update(++done);
    const auto [begin, end] = by_bytes.equal_range(file.record.bytes);
    if (begin != end && read(file)) {
      const auto found = std::find_if(begin, end, [&](const auto& candidate) {
        return !moved[candidate.second] &&
               missing_[candidate.second].record.same_content(file.record);
      });
      if (found != end) {
        moved[found->second] = true;
        file.id = missing_[found->second].id;
        file.moved_from = missing_[found->second].path;
        plan_.describe.push_back(std::move(file));
        continue;
      }
    }
    plan_.encode.push_back(std::move(file));
  }
  files_.clear();
  for (std::size_t i = 0; i < missing_.size(); ++i) {
    if (moved[i]) continue;
    if (missing_[i].ours) {
      plan_.gone.emplace_back(missing_[i].id, missing_[i].path);
    } else {
      ++plan_.others;
    }
  }
}

void Planner::check_new() const {
  HH_REQUIRE(index_ != nullptr || std::any_of(found_.begin(), found_.end(),
                                              [](std::int64_t files) { return files > 0; }),
             roots_.folders[0].string()
                 << (found_.size() > 1 ? " and the other folders hold" : ": it holds")
                 << " no image, and there is no index yet: is its disk there?");
}

void Planner::check_empty() const {
  for (std::size_t r = 0; r < prefixes_.size(); ++r) {
    HH_REQUIRE(found_[r] > 0 || items_[r] == 0,
               roots_.folders[r].string()
                   << ": it holds no image, but the index has " << counted(items_[r], "item")
                   << " of it: is its disk there? If they are to go, --allow-empty");
  }
}

}  // namespace

std::int64_t SyncPlan::count_new() const {
  return std::count_if(encode.begin(), encode.end(), [](const SyncFile& f) { return f.id < 0; });
}
std::int64_t SyncPlan::count_moved() const {
  return std::count_if(describe.begin(), describe.end(),
                       [](const SyncFile& f) { return !f.moved_from.empty(); });
}

SyncRoots sync_roots(const std::vector<std::string>& folders, const std::string& image_root,
                     const fs::path& index) {
  HH_REQUIRE(!folders.empty(), "which folders? Give one or more");
  SyncRoots roots;
  for (const std::string& folder : folders) {
    std::error_code ignored;
    HH_REQUIRE(fs::is_directory(folder, ignored),
               folder << ": there is no such folder; give the path of one");
    roots.folders.push_back(whole(folder));
  }
  const fs::path before = remembered_image_root(index);
  roots.image_root = !image_root.empty() ? whole(image_root)
                     : !before.empty()   ? before
                                         : common_parent(roots.folders);
  for (const fs::path& folder : roots.folders) {
    HH_REQUIRE(
        prefix_of(folder, roots.image_root) != "..",
        folder.string() << " doesn't lie below " << roots.image_root.string()
                        << ", which the paths in the index start from: give what they are to "
                           "start from by --image-root "
                        << common_parent({roots.image_root, folder}).string());
  }
  return roots;
}

void remember_image_root(const fs::path& index, const fs::path& image_root) {
  if (remembered_image_root(index) == image_root) return;
  write_file_atomically(
      index / kRememberedFile,
      json_text(nlohmann::json{{"image_root", as_utf8(image_root.string())}}) + "\n");
}

fs::path remembered_image_root(const fs::path& index) {
  std::error_code ignored;
  if (!fs::exists(index / kRememberedFile, ignored)) return {};
  constexpr std::size_t kMaxBytes = std::size_t{64} << 10;
  const auto bytes = read_file(index / kRememberedFile, kMaxBytes);
  const auto json = parse_json_if_any({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  const auto found = json.is_object() ? json.find("image_root") : json.end();
  if (!json.is_object() || found == json.end() || !found->is_string()) {
    throw std::runtime_error((index / kRememberedFile).string() +
                             ": it is damaged: remove it and give --image-root");
  }
  return bytes_of_utf8(found->get<std::string>());
}

SyncPlan plan_sync(const retrieval::Index* index, const SyncRoots& roots, bool class_folders,
                   bool allow_empty, const Listener& listener) {
  Planner planner(index, roots, class_folders, listener);
  planner.list_files();
  planner.compare();
  planner.check_new();
  if (!allow_empty) planner.check_empty();
  planner.find_moved();
  return std::move(planner).plan();
}

}  // namespace hh::pipeline
