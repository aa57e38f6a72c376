// SPDX-License-Identifier: Apache-2.0
#include "engine/files/folder_in_making.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <string>
#include <string_view>
#include <system_error>

#include "engine/files/file_error.h"
#include "engine/files/replace_folder.h"

namespace hh {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEnding = ".tmp";

std::string stem_of(const fs::path& place) {
  constexpr std::size_t kMaxName = 255;
  constexpr std::size_t kBehind = std::string_view(".2147483647.tmp.old").size();
  return place.filename().string().substr(0, kMaxName - kBehind) + ".";
}

/// The PID in the name of a folder in the making with this stem; 0 for any other name.
int pid_in(std::string_view name, std::string_view stem) {
  if (!name.starts_with(stem) || !name.ends_with(kEnding)) return 0;
  if (name.size() <= stem.size() + kEnding.size()) return 0;
  const std::string_view digits =
      name.substr(stem.size(), name.size() - stem.size() - kEnding.size());
  int pid = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), pid);
  return error == std::errc() && end == digits.data() + digits.size() && pid > 0 ? pid : 0;
}

/// A PID alone would not do: that of a container, or of another machine, doesn't live here.
bool is_left(const fs::path& folder, int pid) {
  if (::kill(pid, 0) == 0 || errno != ESRCH) return false;
  // Killed between two renames: the old folder is .old now, and this may be the new one.
  if (fs::exists(folder.string() + ".old")) return false;
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0) return false;
  const bool unlocked = ::flock(descriptor, LOCK_EX | LOCK_NB) == 0;
  ::close(descriptor);
  return unlocked;
}

void remove_left(const fs::path& parent, const std::string& stem) {
  std::error_code failed;
  fs::directory_iterator entry(parent, failed);
  for (; !failed && entry != fs::directory_iterator(); entry.increment(failed)) {
    const int pid = pid_in(entry->path().filename().string(), stem);
    std::error_code ignored;
    if (pid > 0 && is_left(entry->path(), pid)) fs::remove_all(entry->path(), ignored);
  }
}

}  // namespace

FolderInMaking::FolderInMaking(const fs::path& place) : place_(place) {
  const fs::path parent = place.parent_path();
  if (!parent.empty()) fs::create_directories(parent);
  const std::string stem = stem_of(place);
  remove_left(parent.empty() ? "." : parent, stem);
  int number = int(::getpid());
  do made_ = parent / (stem + std::to_string(number++) + std::string(kEnding));
  while (!fs::create_directory(made_));
  lock_ = ::open(made_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ < 0) throw_file_error(made_, "can't be opened");
  // Disks without locks refuse; then the PID alone protects it.
  while (::flock(lock_, LOCK_EX) != 0 && errno == EINTR) continue;
}

FolderInMaking::~FolderInMaking() {
  std::error_code ignored;
  if (!in_place_) fs::remove_all(made_, ignored);
  ::close(lock_);
}

void FolderInMaking::put_in_place() {
  replace_folder(made_, place_);
  in_place_ = true;
}

}  // namespace hh
