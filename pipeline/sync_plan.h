// SPDX-License-Identifier: Apache-2.0
// What differs between an index and the folders that it follows, found without a network: by the
// path of each file, and by its content where the path alone doesn't say it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "pipeline/file_record.h"
#include "pipeline/listener.h"
#include "retrieval/index/index.h"

namespace hh::pipeline {

/// Folders to follow, and what the paths in the index start from. All absolute.
struct SyncRoots {
  std::filesystem::path image_root;
  std::vector<std::filesystem::path> folders;  // image_root, or below it
};

/// `image_root`: as the user gives it. Otherwise what `index` (which needn't be there) followed at its
/// last sync, else the folder itself, or what several folders have in common. Throws
/// std::invalid_argument: no such folder, a folder that isn't below the image root.
SyncRoots sync_roots(const std::vector<std::string>& folders, const std::string& image_root,
                     const std::filesystem::path& index);
/// Kept in the index's folder; not part of the index.
void remember_image_root(const std::filesystem::path& index,
                         const std::filesystem::path& image_root);
/// Empty where none was kept.
std::filesystem::path remembered_image_root(const std::filesystem::path& index);

/// A file and what becomes of it.
struct SyncFile {
  std::string path;        // from the image root; as bytes
  std::string label;       // its class by its folder; empty: none, or folders aren't classes
  FileRecord record;       // of now; the check sum only where `known`
  bool known = false;      // the check sum is
  std::int64_t id = -1;    // of its item; -1: there is none yet
  std::string moved_from;  // of `describe`: empty where it lies where it lay
};

struct SyncPlan {
  std::vector<SyncFile> encode;  // new and changed ones
  std::vector<SyncFile>
      describe;  // moved, in another class, or with another time and the same content
  std::vector<std::pair<std::int64_t, std::string>> gone;  // items and their paths
  std::vector<std::string> warnings;
  bool class_folders = false;
  std::int64_t same = 0;    // files that are in the index as they are
  std::int64_t others = 0;  // items that none of these folders holds: left alone

  std::int64_t count_new() const;
  std::int64_t count_moved() const;
};

/// `index` null: there is none yet. With `class_folders` the folders in each of the roots are classes.
/// Nothing is written.
/// Throws std::invalid_argument where a folder that the index has items of holds no image at all, as a
/// disk that isn't mounted does, unless `allow_empty`; or where there is no index yet and no image either.
SyncPlan plan_sync(const retrieval::Index* index, const SyncRoots& roots, bool class_folders,
                   bool allow_empty, const Listener& listener);

}  // namespace hh::pipeline
