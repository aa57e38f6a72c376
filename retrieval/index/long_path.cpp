// SPDX-License-Identifier: Apache-2.0
#include "retrieval/index/long_path.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>

#include "engine/files/file_error.h"

namespace hh::retrieval {
namespace {

constexpr const char* kVfs = "hybridhash-long-path";

/// SQLite's own for Unix, but names are taken as they are: it would follow the link in /proc and
/// have the long path again.
void register_vfs() {
  static std::once_flag once;
  static sqlite3_vfs vfs;
  std::call_once(once, [] {
    vfs = *sqlite3_vfs_find(nullptr);
    vfs.zName = kVfs;
    vfs.xFullPathname = [](sqlite3_vfs*, const char* name, int size, char* out) {
      sqlite3_snprintf(size, out, "%s", name);
      return SQLITE_OK;
    };
    sqlite3_vfs_register(&vfs, /*makeDflt=*/0);
  });
}

/// Of the path as SQLite would have it, absolute and without links.
std::size_t length_of(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::max(std::filesystem::absolute(path, ignored).native().size(),
                  std::filesystem::weakly_canonical(path, ignored).native().size());
}

}  // namespace

ShortPath::ShortPath(const std::filesystem::path& path) : path_(path) {
  constexpr std::size_t kMost = 400;  // room for -journal, and for SQLite's other names
  if (length_of(path) <= kMost) return;
  const auto parent = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  folder_ = ::open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (folder_ < 0) throw_file_error(parent, "can't be opened");
  path_ = std::filesystem::path("/proc/self/fd") / std::to_string(folder_) / path.filename();
  register_vfs();
}

ShortPath::~ShortPath() {
  if (folder_ >= 0) ::close(folder_);
}

const char* ShortPath::vfs() const { return folder_ < 0 ? nullptr : kVfs; }

}  // namespace hh::retrieval
