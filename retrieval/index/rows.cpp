// SPDX-License-Identifier: Apache-2.0
#include "retrieval/index/rows.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

#include "engine/files/file_error.h"

namespace hh::retrieval {
namespace {

constexpr std::size_t kHeaderBytes = 64;
using Header = std::array<char, kHeaderBytes>;

Header header_of(std::size_t row_bytes) {
  Header header{};
  std::memcpy(header.data(), "HHROWS1", 8);
  const std::uint64_t size = row_bytes;
  std::memcpy(header.data() + 8, &size, sizeof size);
  return header;
}

class Output {
 public:
  Output(const std::filesystem::path& path, int flags)
      : path_(path), descriptor_(::open(path.c_str(), O_WRONLY | O_CLOEXEC | flags, 0666)) {
    if (descriptor_ < 0) throw_file_error(path_, "can't be opened for writing");
  }
  ~Output() { ::close(descriptor_); }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void write(std::size_t at, const void* bytes, std::size_t count) {
    const char* from = static_cast<const char*>(bytes);
    while (count > 0) {
      const ssize_t written = ::pwrite(descriptor_, from, count, off_t(at));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) throw_file_error(path_, "can't be written");
      from += written;
      at += std::size_t(written);
      count -= std::size_t(written);
    }
  }
  void flush() {
    if (::fsync(descriptor_) != 0) throw_file_error(path_, "can't be flushed to the disk");
  }

 private:
  const std::filesystem::path& path_;
  int descriptor_;
};

}  // namespace

void create_row_file(const std::filesystem::path& path, std::size_t row_bytes) {
  Output output(path, O_CREAT | O_EXCL);
  const Header header = header_of(row_bytes);
  output.write(0, header.data(), header.size());
  output.flush();
}

void append_rows(const std::filesystem::path& path, std::size_t row_bytes, std::int64_t rows,
                 std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  Output output(path, 0);
  output.write(kHeaderBytes + std::size_t(rows) * row_bytes, bytes.data(), bytes.size());
  output.flush();
}

MappedRows::MappedRows(const std::filesystem::path& path, std::size_t row_bytes, std::int64_t rows)
    : file_(path) {
  const auto all = file_.bytes();
  const Header header = header_of(row_bytes);
  if (all.size() < kHeaderBytes || std::memcmp(all.data(), header.data(), kHeaderBytes) != 0) {
    throw std::runtime_error(path.string() + ": its header isn't that of rows of " +
                             std::to_string(row_bytes) +
                             " bytes; the index is damaged: restore a copy, or build it again");
  }
  const auto rest = all.subspan(kHeaderBytes);
  if (rest.size() / row_bytes < std::size_t(rows)) {
    throw std::runtime_error(
        path.string() + ": cut short: " + std::to_string(rest.size() / row_bytes) + " of " +
        std::to_string(rows) +
        " rows are there; the index is damaged: restore a copy, or build it again");
  }
  bytes_ = rest.first(std::size_t(rows) * row_bytes);
}

}  // namespace hh::retrieval
