// SPDX-License-Identifier: Apache-2.0
#include "engine/files/file_error.h"

#include <cerrno>
#include <cstring>
#include <string>

namespace hh {

bool means_full(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

void throw_file_error(const std::filesystem::path& path, const char* what) {
  const int error = errno;
  const std::string text = path.string() + ": " + what + ": " + std::strerror(error);
  if (means_full(error)) throw DiskFull(text);
  throw std::runtime_error(text);
}

}  // namespace hh
