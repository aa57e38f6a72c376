// SPDX-License-Identifier: Apache-2.0
#include "engine/files/spool.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>

#include "engine/files/file_error.h"

namespace hh {
namespace {
constexpr std::size_t kInMemory = std::size_t{1} << 20;
}

Spool::~Spool() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void Spool::append(std::span<const std::byte> bytes) {
  buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (buffer_.size() >= kInMemory) flush();
}

void Spool::flush() {
  const std::filesystem::path folder = folder_.empty() ? "." : folder_;
  if (descriptor_ < 0) {
    std::string name = (folder / "hybridhash.XXXXXX").string();
    descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
    if (descriptor_ < 0) throw_file_error(folder, "nothing can be written here");
    ::unlink(name.c_str());
  }
  std::size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t some = ::write(descriptor_, buffer_.data() + done, buffer_.size() - done);
    if (some < 0 && errno == EINTR) continue;
    if (some < 0) throw_file_error(folder, "can't be written to");
    done += std::size_t(some);
  }
  written_ += std::int64_t(done);
  buffer_.clear();
}

void Spool::copy_to(AtomicFile& file) const {
  std::string piece(std::size_t(std::min(written_, std::int64_t(kInMemory))), '\0');
  for (std::int64_t done = 0; done < written_;) {
    const ssize_t some = ::pread(descriptor_, piece.data(), piece.size(), done);
    if (some < 0 && errno == EINTR) continue;
    if (some < 0) throw_file_error(folder_, "can't be read back");
    if (some == 0) throw std::logic_error("a spool lost bytes");
    file.write(piece.data(), std::size_t(some));
    done += some;
  }
  file.write(buffer_);
}

}  // namespace hh
