// SPDX-License-Identifier: Apache-2.0
// A folder that one process at a time writes to.
#pragma once
#include <filesystem>
#include <stdexcept>

namespace hh {

/// Somebody else has the folder's lock.
struct FolderBusy : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The lock of an existing folder, without a file of its own, for as long as this lives or the
/// process does. A file system that has no locks gives none, and says nothing.
class FolderLock {
 public:
  /// Throws FolderBusy with "FOLDER: " and `busy` when another process, or another lock of this one,
  /// has it.
  FolderLock(const std::filesystem::path& folder, const char* busy);
  ~FolderLock();
  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&& other) noexcept;

 private:
  int descriptor_;
};

}  // namespace hh
