// SPDX-License-Identifier: Apache-2.0
#include "engine/files/replace_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <system_error>

#include "engine/text/log.h"

namespace hh {
namespace {

/// Both names change at once, so that who opens `place` finds one or the other. False where the
/// file system can't.
bool exchange(const std::filesystem::path& made, const std::filesystem::path& place) {
  return ::renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, place.c_str(), RENAME_EXCHANGE) == 0;
}

}  // namespace

void replace_folder(
    const std::filesystem::path& made, const std::filesystem::path& place,
    const std::function<void(const std::filesystem::path&, const std::filesystem::path&)>& rename) {
  const bool exists = std::filesystem::exists(place);
  const bool exchanged = exists && !rename && exchange(made, place);
  const std::filesystem::path old =
      exchanged ? made : std::filesystem::path(made.string() + ".old");
  const auto move = [&](const std::filesystem::path& from, const std::filesystem::path& to) {
    if (exchanged) return;
    rename ? rename(from, to) : std::filesystem::rename(from, to);
  };
  if (exists) move(place, old);
  try {
    move(made, place);
  } catch (const std::exception& error) {
    if (!exists) throw;
    std::error_code failed;
    std::filesystem::rename(old, place, failed);
    if (!failed) throw;
    throw std::runtime_error(std::string(error.what()) + "; and the old folder, now " +
                             old.string() + ", can't be put back: " + failed.message());
  }
  const auto parent = place.has_parent_path() ? place.parent_path() : ".";
  const int descriptor = ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0 || ::fsync(descriptor) != 0) {
    log(LogLevel::kWarning,
        parent.string() + ": can't be flushed to the disk: " + std::strerror(errno));
  }
  if (descriptor >= 0) ::close(descriptor);
  std::error_code failed;
  if (exists) std::filesystem::remove_all(old, failed);
  if (failed) {
    log(LogLevel::kWarning, old.string() + ": can't be removed: " + failed.message());
  }
}

}  // namespace hh
