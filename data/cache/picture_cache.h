// SPDX-License-Identifier: Apache-2.0
// A file of decoded pictures, each with what its image file was then, so that training doesn't decode
// again and again. All numbers are little-endian:
//
//   16 bytes   "HHPICTURES 1" and four zeros
//   pixels     of one picture after the other, HWC; zeros to a multiple of 64 bytes
//   table      a safetensors file: `pictures`, int64 [n, 9], with a row (name_end, file_bytes,
//              modified_ns, changed_ns, file_xxh64, height, width, offset, pixels_xxh64) each; `names`,
//              the image files' absolute paths, one behind the other; metadata `channels` and `made_by`
//   32 bytes   offset, bytes and XXH64 of the table; "HHPICEND"
//
// A reader trusts nothing of it. Who holds one open keeps it, also when it is replaced (AtomicFile).
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/images/image.h"
#include "engine/files/file.h"

namespace hh::data {

/// By which a changed file is told from what it was, without reading it.
struct FileFacts {
  std::int64_t bytes = -1;  // -1: there is no such file, or it is none
  /// Since 1970. The first is what users see and can set; the second is set by the system at every
  /// change, that of the name included.
  std::int64_t modified_ns = 0, changed_ns = 0;
  bool operator==(const FileFacts&) const = default;
};
FileFacts facts_of(const std::string& path);

struct CachedPicture {
  FileFacts file;  // just before it was read
  std::uint64_t file_xxh64 = 0;
  int height = 0, width = 0;  // both 0: the file couldn't be decoded, and there are no pixels
  std::int64_t offset = 0;    // of the pixels
  std::uint64_t pixels_xxh64 = 0;
};

/// Reading is const and safe from many threads.
class PictureCache {
 public:
  /// Throws std::runtime_error for a file that can't be read, that is none of these, or damaged.
  static PictureCache open(const std::filesystem::path& path);
  /// The same from memory, which must outlive it; `name` is for errors.
  static PictureCache parse(std::span<const std::byte> bytes, const std::string& name);

  std::int64_t size() const { return std::int64_t(pictures_.size()); }
  std::string_view name(std::int64_t i) const { return names_[std::size_t(i)]; }
  const CachedPicture& picture(std::int64_t i) const { return pictures_[std::size_t(i)]; }
  /// -1: the path isn't in it.
  std::int64_t find(std::string_view path) const;
  /// Read into `pixels`. False where there are none, and where they aren't what was written: `pixels` is
  /// anything then.
  bool read_pixels(std::int64_t i, std::vector<std::uint8_t>& pixels) const;
  int channels() const { return channels_; }
  std::int64_t file_bytes() const { return std::int64_t(bytes()); }
  const std::string& made_by() const { return made_by_; }

 private:
  std::size_t bytes() const { return memory_.empty() ? file_.size() : memory_.size(); }
  /// Throws where the file has been cut short since it was opened.
  std::vector<std::byte> part(std::size_t begin, std::size_t count) const;
  bool read_part(std::size_t begin, std::span<std::byte> into) const;
  void read_table(const std::string& name);

  RandomAccessFile file_;
  std::span<const std::byte> memory_;  // instead of a file
  std::vector<std::byte> table_;
  std::vector<CachedPicture> pictures_;
  std::vector<std::string_view> names_;  // into the table
  std::unordered_map<std::string_view, std::int64_t> by_name_;
  int channels_ = 0;
  std::string made_by_;
};

/// Throws DiskFull or another std::runtime_error; without commit() nothing is left.
class PictureCacheWriter {
 public:
  /// `made_by`: what decides the pixels beside the image files.
  PictureCacheWriter(const std::filesystem::path& path, int channels, std::string made_by);
  /// Of `about` the file and the sizes are taken. `pixels` may be empty, with sizes of 0.
  void add(std::string_view name, const CachedPicture& about, std::span<const std::byte> pixels);
  void commit();

 private:
  void write(std::span<const std::byte> bytes);

  AtomicFile file_;
  int channels_;
  std::string made_by_, names_;
  std::vector<std::int64_t> rows_;
  std::int64_t at_ = 0;
};

}  // namespace hh::data
