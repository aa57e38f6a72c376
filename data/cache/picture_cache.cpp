// SPDX-License-Identifier: Apache-2.0
#include "data/cache/picture_cache.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <stdexcept>

#include "engine/files/safetensors.h"
#include "engine/files/xxh64.h"
#include "kernels/core/check.h"

namespace hh::data {
namespace {

constexpr std::string_view kHead{"HHPICTURES 1\0\0\0\0", 16};
constexpr std::string_view kEnd = "HHPICEND";
constexpr std::size_t kTailBytes = 32;
constexpr std::uint64_t kMostTableBytes = std::uint64_t{4} << 30;  // of some 20 million pictures
constexpr std::int64_t kColumns = 9, kAlignment = 64;
static_assert(std::endian::native == std::endian::little);

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::uint64_t number_at(std::span<const std::byte> bytes, std::size_t at) {
  std::uint64_t value = 0;
  std::memcpy(&value, &bytes[at], sizeof value);
  return value;
}

/// Whether pixels of these sizes lie between the head and the table.
bool fits(const CachedPicture& picture, std::int64_t channels, std::int64_t end) {
  if (picture.height == 0 && picture.width == 0) return true;
  if (picture.height < 1 || picture.width < 1) return false;
  if (picture.offset < std::int64_t(kHead.size()) || picture.offset > end) return false;
  return picture.height <= (end - picture.offset) / channels / picture.width;
}

}  // namespace

FileFacts facts_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return {};
  const auto ns = [](const timespec& time) {
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
  };
  return {std::int64_t{status.st_size}, ns(status.st_mtim), ns(status.st_ctim)};
}

PictureCache PictureCache::open(const std::filesystem::path& path) {
  PictureCache cache;
  cache.file_ = RandomAccessFile(path);
  cache.read_table(path.string());
  return cache;
}

PictureCache PictureCache::parse(std::span<const std::byte> bytes, const std::string& name) {
  PictureCache cache;
  cache.memory_ = bytes;
  cache.read_table(name);
  return cache;
}

bool PictureCache::read_part(std::size_t begin, std::span<std::byte> into) const {
  if (memory_.empty()) return file_.read(begin, into);
  const auto part = memory_.subspan(begin, into.size());
  std::copy(part.begin(), part.end(), into.begin());
  return true;
}

std::vector<std::byte> PictureCache::part(std::size_t begin, std::size_t count) const {
  std::vector<std::byte> bytes(count);
  if (!read_part(begin, bytes)) throw std::runtime_error("it is truncated");
  return bytes;
}

void PictureCache::read_table(const std::string& name) try {
  const auto starts = [](std::span<const std::byte> bytes, std::string_view with) {
    return std::memcmp(bytes.data(), with.data(), with.size()) == 0;
  };
  if (bytes() < kHead.size() || !starts(part(0, kHead.size()), kHead)) {
    throw std::runtime_error("it is no file of decoded pictures");
  }
  if (bytes() < kHead.size() + kTailBytes) throw std::runtime_error("it is truncated");
  const std::size_t tail_begin = bytes() - kTailBytes;
  const std::vector<std::byte> tail = part(tail_begin, kTailBytes);
  if (!starts(std::span(tail).subspan(24), kEnd)) throw std::runtime_error("it is truncated");
  const std::uint64_t begin = number_at(tail, 0), count = number_at(tail, 8);
  if (begin < kHead.size() || begin > tail_begin || count != tail_begin - begin) {
    throw std::runtime_error("its table isn't where it should be");
  }
  // Of a sparse file it might be any size.
  if (count > kMostTableBytes) throw std::runtime_error("its table is larger than any can be");
  table_ = part(begin, count);
  if (xxh64(table_) != number_at(tail, 16)) {
    throw std::runtime_error("its table isn't what was written");
  }
  const SafetensorsFile table = SafetensorsFile::parse(table_, "its table");
  const auto text = [&](const char* key) {
    const auto found = table.metadata().find(key);
    if (found == table.metadata().end())
      throw std::runtime_error("its table lacks " + std::string(key));
    return found->second;
  };
  made_by_ = text("made_by");
  const std::string channels = text("channels");
  if (channels != "1" && channels != "3") {
    throw std::runtime_error("its pictures have " + channels + " channels");
  }
  channels_ = channels == "1" ? 1 : 3;
  const auto& rows = table.entry("pictures");
  const auto& names = table.entry("names");
  if (rows.dtype != "I64" || rows.shape.size() != 2 || rows.shape[1] != kColumns ||
      names.dtype != "U8") {
    throw std::runtime_error("its table is none of pictures");
  }
  const std::string_view all(reinterpret_cast<const char*>(names.bytes.data()), names.bytes.size());
  pictures_.reserve(std::size_t(rows.shape[0]));
  names_.reserve(pictures_.capacity());
  std::int64_t name_begin = 0;
  for (std::int64_t i = 0; i < rows.shape[0]; ++i) {
    std::array<std::int64_t, kColumns> row{};
    std::memcpy(row.data(), &rows.bytes[std::size_t(i) * sizeof row], sizeof row);
    const std::int64_t name_end = row[0];
    CachedPicture picture{.file = {row[1], row[2], row[3]},
                          .file_xxh64 = std::uint64_t(row[4]),
                          .height = int(row[5]),
                          .width = int(row[6]),
                          .offset = row[7],
                          .pixels_xxh64 = std::uint64_t(row[8])};
    if (name_end < name_begin || name_end > std::int64_t(all.size()) || picture.height != row[5] ||
        picture.width != row[6] || !fits(picture, channels_, std::int64_t(begin))) {
      throw std::runtime_error("picture " + std::to_string(i) + " of its table is impossible");
    }
    names_.push_back(all.substr(std::size_t(name_begin), std::size_t(name_end - name_begin)));
    pictures_.push_back(picture);
    by_name_.emplace(names_.back(), i);
    name_begin = name_end;
  }
} catch (const std::runtime_error& error) {
  throw std::runtime_error(name + ": " + error.what());
}

std::int64_t PictureCache::find(std::string_view path) const {
  const auto found = by_name_.find(path);
  return found == by_name_.end() ? -1 : found->second;
}

bool PictureCache::read_pixels(std::int64_t i, std::vector<std::uint8_t>& pixels) const {
  const CachedPicture& picture = pictures_[std::size_t(i)];
  if (picture.height == 0) return false;  // its offset was never checked
  pixels.resize(std::size_t(picture.height) * std::size_t(picture.width) * std::size_t(channels_));
  return read_part(std::size_t(picture.offset), std::as_writable_bytes(std::span(pixels))) &&
         xxh64(std::as_bytes(std::span(pixels))) == picture.pixels_xxh64;
}

PictureCacheWriter::PictureCacheWriter(const std::filesystem::path& path, int channels,
                                       std::string made_by)
    : file_(path), channels_(channels), made_by_(std::move(made_by)) {
  write(bytes_of(kHead));
}

void PictureCacheWriter::write(std::span<const std::byte> bytes) {
  file_.write(bytes.data(), bytes.size());
  at_ += std::int64_t(bytes.size());
}

void PictureCacheWriter::add(std::string_view name, const CachedPicture& about,
                             std::span<const std::byte> pixels) {
  HH_PRECONDITION(
      std::int64_t{about.height} * about.width * channels_ == std::int64_t(pixels.size()),
      "picture cache: " << pixels.size() << " bytes for " << about.height << " x " << about.width);
  names_ += name;
  for (const std::int64_t value :
       {std::int64_t(names_.size()), about.file.bytes, about.file.modified_ns,
        about.file.changed_ns, std::int64_t(about.file_xxh64), std::int64_t{about.height},
        std::int64_t{about.width}, pixels.empty() ? 0 : at_, std::int64_t(xxh64(pixels))}) {
    rows_.push_back(value);
  }
  write(pixels);
}

void PictureCacheWriter::commit() {
  const std::string zeros(std::size_t((kAlignment - at_ % kAlignment) % kAlignment), '\0');
  write(bytes_of(zeros));
  const SafetensorsHead head =
      safetensors_head({{"pictures", "I64", {std::int64_t(rows_.size()) / kColumns, kColumns}},
                        {"names", "U8", {std::int64_t(names_.size())}}},
                       {{"made_by", made_by_}, {"channels", std::to_string(channels_)}});
  const std::array parts{bytes_of(head.bytes), std::as_bytes(std::span(rows_)), bytes_of(names_)};
  const std::int64_t begin = at_;
  Xxh64 sum;
  for (const auto part : parts) {
    sum.update(part);
    write(part);
  }
  const std::array<std::uint64_t, 3> tail{std::uint64_t(begin), std::uint64_t(at_ - begin),
                                          sum.value()};
  write(std::as_bytes(std::span(tail)));
  write(bytes_of(kEnd));
  file_.commit();
}

}  // namespace hh::data
