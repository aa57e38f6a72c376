// SPDX-License-Identifier: Apache-2.0
// SQLite takes paths of up to 512 bytes, Linux of 4096. A longer one is given to it as
// /proc/self/fd/N/NAME, N being the open folder.
#pragma once
#include <filesystem>
#include <string>

namespace hh::retrieval {

class ShortPath {
 public:
  ShortPath() = default;
  /// Throws std::runtime_error where the folder of a long path can't be opened.
  explicit ShortPath(const std::filesystem::path& path);
  ~ShortPath();
  ShortPath(const ShortPath&) = delete;
  ShortPath& operator=(const ShortPath&) = delete;

  /// Means the file while this lives.
  const std::filesystem::path& path() const { return path_; }
  /// The VFS to open it with; null: SQLite's own.
  const char* vfs() const;

 private:
  std::filesystem::path path_;
  int folder_ = -1;
};

}  // namespace hh::retrieval
