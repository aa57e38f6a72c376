// SPDX-License-Identifier: Apache-2.0
#include "engine/files/file_error.h"

#include <cerrno>
#include <cstring>
#include <string>

namespace hh {

bool means_full(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

bool means_try_again(int error) {
  switch (error) {
    case EIO:
    case ESTALE:  // a network disk's server was changed
    case ETIMEDOUT:
    case ECONNRESET:
    case ECONNABORTED:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETDOWN:
    case ENETUNREACH:
    case ENOTCONN:  // a file system of FUSE whose process has gone
    case EREMOTEIO:
    case ENOMEM:
    case ENFILE:
    case EMFILE:
    case EAGAIN:
      return true;
    default:
      return false;
  }
}

void throw_file_error(const std::filesystem::path& path, const char* what) {
  const int error = errno;
  const std::string text = path.string() + ": " + what + ": " + std::strerror(error);
  if (means_full(error)) throw DiskFull(text);
  if (means_try_again(error)) throw TryAgain(text);
  throw std::runtime_error(text);
}

std::string text_of(const std::system_error& error) {
  const auto* of_file = dynamic_cast<const std::filesystem::filesystem_error*>(&error);
  if (of_file == nullptr || of_file->path1().empty()) return error.what();
  std::string text = of_file->path1().string();
  if (!of_file->path2().empty()) text += ", " + of_file->path2().string();
  return text + ": " + error.code().message();
}

}  // namespace hh
