// SPDX-License-Identifier: Apache-2.0
// A folder that is put in its place when it is complete.
#pragma once
#include <filesystem>

namespace hh {

/// A folder in the making: PLACE.PID.tmp beside its place, the name cut to what a name can have.
/// Like any other folder, not private as mkdtemp's. The destructor removes it unless it was put in
/// its place. Those that killed processes left for the same place are removed at the start; those of
/// living ones are locked and have a PID that lives.
class FolderInMaking {
 public:
  /// Makes the folders above too. Throws std::filesystem::filesystem_error, std::runtime_error.
  explicit FolderInMaking(const std::filesystem::path& place);
  ~FolderInMaking();
  FolderInMaking(const FolderInMaking&) = delete;
  FolderInMaking& operator=(const FolderInMaking&) = delete;

  const std::filesystem::path& path() const { return made_; }
  /// As replace_folder() (replace_folder.h).
  void put_in_place();

 private:
  std::filesystem::path place_, made_;
  int lock_ = -1;
  bool in_place_ = false;
};

}  // namespace hh
