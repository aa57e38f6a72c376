// SPDX-License-Identifier: Apache-2.0
#include "data/streams/input.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>

#include "engine/files/file_error.h"

namespace hh::data {

Input::Input(const std::string& path) : name_(path == kStdin ? "stdin" : path) {
  descriptor_ = path == kStdin ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
                               : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) throw_file_error(name_, "can't be opened");
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) {
    ::close(descriptor_);
    throw_file_error(name_, "can't be examined");
  }
  if (S_ISDIR(status.st_mode)) {
    ::close(descriptor_);
    throw std::runtime_error(name_ + ": it is a folder: give a file");
  }
  regular_ = S_ISREG(status.st_mode);
}

Input::~Input() { ::close(descriptor_); }

void Input::require_regular(const char* kind) const {
  if (regular_) return;
  throw std::runtime_error(name_ +
                           ": it can be read only once, and shards and folders of parts need to "
                           "know the whole " +
                           kind + ": write it to a file first");
}

std::size_t Input::read(void* to, std::size_t room, const std::atomic<bool>& stop) {
  constexpr int kTick = 100;  // milliseconds
  for (;;) {
    pollfd waiting{.fd = descriptor_, .events = POLLIN, .revents = 0};
    if (!regular_ && ::poll(&waiting, 1, kTick) == 0) {
      if (stop) return 0;
      continue;
    }
    const ssize_t got = ::read(descriptor_, to, room);
    if (got >= 0) return std::size_t(got);
    if (errno != EINTR && errno != EAGAIN) throw_file_error(name_, "can't be read");
    if (stop) return 0;
  }
}

void Input::skip(std::int64_t bytes) {
  if (::lseek(descriptor_, bytes, SEEK_CUR) < 0) throw_file_error(name_, "can't be read");
}

}  // namespace hh::data
