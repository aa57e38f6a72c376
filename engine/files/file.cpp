// SPDX-License-Identifier: Apache-2.0
#include "engine/files/file.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include "engine/files/file_error.h"

namespace hh {
namespace {

/// A descriptor that closes itself.
class Descriptor {
 public:
  Descriptor(const std::filesystem::path& path, int flags)
      : value_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (value_ < 0) throw_file_error(path, "can't be opened");
  }
  ~Descriptor() { ::close(value_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return value_; }

 private:
  int value_;
};

struct stat regular_file(const std::filesystem::path& path, int descriptor) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) throw_file_error(path, "can't be examined");
  if (!S_ISREG(status.st_mode)) throw std::runtime_error(path.string() + ": not a regular file");
  return status;
}

void write_all(const std::filesystem::path& path, int descriptor, const char* bytes,
               std::size_t count) {
  while (count > 0) {
    const ssize_t written = ::write(descriptor, bytes, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw_file_error(path, "can't be written");
    bytes += written;
    count -= std::size_t(written);
  }
}

void flush(const std::filesystem::path& path, int descriptor) {
  if (::fsync(descriptor) != 0) throw_file_error(path, "can't be flushed to the disk");
}

}  // namespace

std::vector<std::uint8_t> read_file(const std::filesystem::path& path, std::size_t max_bytes) {
  // Non-blocking, so that a named pipe among the images can't hang us; files don't know the flag.
  const Descriptor descriptor(path, O_RDONLY | O_NONBLOCK);
  const auto size = std::size_t(regular_file(path, descriptor).st_size);
  if (size > max_bytes) {
    throw std::runtime_error(path.string() + ": " + std::to_string(size) +
                             " bytes, more than the " + std::to_string(max_bytes) +
                             " that such a file may have");
  }
  std::vector<std::uint8_t> bytes(size);
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(descriptor, bytes.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_file_error(path, "can't be read");
    if (got == 0) break;  // cut short since it was opened
    done += std::size_t(got);
  }
  bytes.resize(done);
  return bytes;
}

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(path) {
  std::string name = path.string() + ".XXXXXX.tmp";
  descriptor_ = ::mkostemps(name.data(), 4, O_CLOEXEC);
  if (descriptor_ < 0) throw_file_error(path, "can't be written");
  temporary_ = name;
  // mkostemps makes private files; what users write follows their umask, as with any other program.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  if (::fchmod(descriptor_, 0666 & ~mask) != 0) throw_file_error(path, "can't be written");
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* bytes, std::size_t count) {
  write_all(path_, descriptor_, static_cast<const char*>(bytes), count);
}

void AtomicFile::commit() {
  flush(path_, descriptor_);
  const auto folder = path_.has_parent_path() ? path_.parent_path() : ".";
  const Descriptor folder_descriptor(folder, O_RDONLY | O_DIRECTORY);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0)
    throw_file_error(path_, "can't be replaced");
  ::close(std::exchange(descriptor_, -1));
  // Without this a power cut may bring the old file back. It is no reason to throw: the new file is
  // what everybody reads from now on.
  if (::fsync(folder_descriptor) != 0) {
    spdlog::warn("{}: can't be flushed to the disk: {}", folder.string(), std::strerror(errno));
  }
}

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void append_line(const std::filesystem::path& path, std::string_view line) {
  const Descriptor descriptor(path, O_WRONLY | O_CREAT | O_APPEND);
  write_all(path, descriptor, line.data(), line.size());
  flush(path, descriptor);
}

void keep_lines(const std::filesystem::path& path, std::size_t lines) {
  constexpr std::size_t kMaxLog = std::size_t{1} << 30;
  const auto bytes = read_file(path, kMaxLog);
  std::size_t end = 0;
  while (end < bytes.size() && lines > 0) lines -= bytes[end++] == '\n';
  write_file_atomically(path, {reinterpret_cast<const char*>(bytes.data()), end});
}

MappedFile::MappedFile(const std::filesystem::path& path) {
  const Descriptor descriptor(path, O_RDONLY | O_NONBLOCK);
  size_ = std::size_t(regular_file(path, descriptor).st_size);
  if (size_ == 0) return;  // nothing to map
  void* memory = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (memory == MAP_FAILED) throw_file_error(path, "can't be mapped");
  data_ = static_cast<const std::byte*>(memory);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace hh
