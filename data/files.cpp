#include "data/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace hh::data {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* what) {
  throw std::runtime_error(path.string() + ": " + what + ": " + std::strerror(errno));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

std::vector<std::uint8_t> read_file(const std::filesystem::path& path, std::int64_t max_bytes) {
  // Non-blocking, so that a named pipe without a writer can't hang us; ignored for plain files.
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd < 0) fail(path, "can't be opened");
  struct stat status;
  if (::fstat(fd, &status) != 0) fail(path, "can't be read");
  if (!S_ISREG(status.st_mode)) throw std::runtime_error(path.string() + ": is not a file");
  if (status.st_size > max_bytes) {
    throw std::runtime_error(path.string() + ": has " + std::to_string(status.st_size) +
                             " bytes, and the limit is " + std::to_string(max_bytes));
  }
  std::vector<std::uint8_t> bytes(std::size_t(status.st_size));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::read(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(path, "can't be read");
    if (n == 0) throw std::runtime_error(path.string() + ": became shorter while it was read");
    done += std::size_t(n);
  }
  return bytes;
}

std::vector<std::uint8_t> gunzip(std::vector<std::uint8_t> bytes, std::int64_t max_bytes) {
  if (bytes.size() < 2 || bytes[0] != 0x1f || bytes[1] != 0x8b) return bytes;
  z_stream stream = {};
  constexpr int kGzip = 16 + 15;  // zlib's window bits: gzip wrapper, 32 KiB
  if (inflateInit2(&stream, kGzip) != Z_OK) throw std::bad_alloc();
  struct End {
    z_stream* s;
    ~End() { inflateEnd(s); }
  } end{&stream};

  std::vector<std::uint8_t> out;
  std::size_t used = 0, consumed = 0;
  int state = Z_OK;
  while (state != Z_STREAM_END) {
    if (used == out.size()) {
      // One byte over the limit, so that "exactly at the limit" and "over it" can be told apart.
      const auto limit = std::size_t(max_bytes) + 1;
      if (used == limit) {
        throw std::runtime_error("gzip: it unpacks to more than " + std::to_string(max_bytes) +
                                 " bytes");
      }
      out.resize(std::min(limit, std::max(2 * out.size(), std::size_t{1} << 16)));
    }
    if (stream.avail_in == 0 && consumed < bytes.size()) {
      const std::size_t n = std::min(bytes.size() - consumed, std::size_t{1} << 30);
      stream.next_in = bytes.data() + consumed;
      stream.avail_in = uInt(n);
      consumed += n;
    }
    const auto room = uInt(std::min(out.size() - used, std::size_t{1} << 30));
    stream.next_out = out.data() + used;
    stream.avail_out = room;
    state = inflate(&stream, Z_NO_FLUSH);
    used += room - stream.avail_out;
    if (state == Z_BUF_ERROR) throw std::runtime_error("gzip: the data is truncated");
    if (state != Z_OK && state != Z_STREAM_END) {
      throw std::runtime_error(std::string("gzip: the data is corrupt: ") +
                               (stream.msg ? stream.msg : "no reason given"));
    }
  }
  if (used > std::size_t(max_bytes)) {
    throw std::runtime_error("gzip: it unpacks to more than " + std::to_string(max_bytes) +
                             " bytes");
  }
  out.resize(used);
  return out;
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  std::string temporary = path.string() + ".XXXXXX";
  {
    const Descriptor fd(::mkstemp(temporary.data()));
    if (fd < 0) fail(path, "can't be written");
    const auto give_up = [&] {
      const int error = errno;
      ::unlink(temporary.c_str());
      errno = error;
      fail(path, "can't be written");
    };
    while (!text.empty()) {
      const ssize_t n = ::write(fd, text.data(), text.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) give_up();
      text.remove_prefix(std::size_t(n));
    }
    // mkstemp's 0600 would hide the file from others whom the folder lets in.
    const mode_t mask = ::umask(0);
    ::umask(mask);
    if (::fchmod(fd, 0666 & ~mask) != 0 || ::fsync(fd) != 0) give_up();
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary.c_str());
    errno = error;
    fail(path, "can't be written");
  }
}

}  // namespace hh::data
