// SPDX-License-Identifier: Apache-2.0
// An input of the fuzzer as a file, for readers that take a path.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "tests/fuzz/fuzz.h"

namespace hh::fuzz {

/// A file without a place on a disk, which holds these bytes until the next call.
inline std::string memory_file(const std::uint8_t* data, std::size_t size) {
  static const int file = ::memfd_create("fuzz", MFD_CLOEXEC);
  require(file >= 0 && ::ftruncate(file, 0) == 0);
  require(::pwrite(file, data, size, 0) == ssize_t(size));
  return "/proc/self/fd/" + std::to_string(file);
}

}  // namespace hh::fuzz
