// SPDX-License-Identifier: Apache-2.0
// Files: read whole or mapped, and written so that a killed process loses nothing.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace hh {

// All of these throw std::runtime_error with the path and the system's reason; those that write
// throw DiskFull (file_error.h) where there is no room.

/// The whole file. Also throws when it holds more than `max_bytes`.
std::vector<std::uint8_t> read_file(const std::filesystem::path& path, std::size_t max_bytes);

/// The same, but a pipe or a terminal is read to its end, and waited for.
std::vector<std::uint8_t> read_file_or_pipe(const std::filesystem::path& path,
                                            std::size_t max_bytes);

/// A file in the making, under a temporary name in the same folder. commit() flushes it to the disk
/// and renames it; without commit() the destructor removes it. A reader sees the old file or the
/// whole new one, whatever happens. The new file has the old one's mode and, where permitted, its
/// owner. A link stays a link: what it leads to is replaced. Devices and pipes have no old and new:
/// they are written as the bytes come.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* bytes, std::size_t count);
  void write(std::string_view text) { write(text.data(), text.size()); }
  /// When it throws, the old file is there as it was.
  void commit();

 private:
  std::filesystem::path path_, target_;  // as given; where links lead
  std::filesystem::path temporary_;      // empty: target_ is written through
  int descriptor_ = -1;
};

/// Removes what killed processes left of AtomicFiles for `path`; those of living ones are locked. An
/// AtomicFile does so at its start with what was there when the process first wrote in the folder.
void remove_left_temporaries(const std::filesystem::path& path);

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

/// Appends to a log (metrics.csv), made if it isn't there. `line` brings its own newline.
void append_line(const std::filesystem::path& path, std::string_view line);
/// Cuts a log to its first `lines` lines.
void keep_lines(const std::filesystem::path& path, std::size_t lines);

/// A read-only view of a whole file. The file must not be cut short while it is mapped; files
/// replaced by rename (AtomicFile) are safe.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  /// Gives the memory of a part of a mapped file back; touched again, it is read again. So that a
  /// file larger than the memory can be gone through.
  static void release(std::span<const std::byte> part);

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// A file that is read in parts, and may be cut short or changed meanwhile by others: unlike a mapped
/// one's, its bytes are copied, and no signal kills who asks for what is gone.
class RandomAccessFile {
 public:
  RandomAccessFile() = default;
  explicit RandomAccessFile(const std::filesystem::path& path);
  ~RandomAccessFile();
  RandomAccessFile(RandomAccessFile&& other) noexcept;
  RandomAccessFile& operator=(RandomAccessFile&& other) noexcept;

  /// When it was opened.
  std::size_t size() const { return size_; }
  /// Fills `into` with what stands from `offset` on. False where that many bytes can't be read.
  bool read(std::size_t offset, std::span<std::byte> into) const;

 private:
  int descriptor_ = -1;
  std::size_t size_ = 0;
};

}  // namespace hh
