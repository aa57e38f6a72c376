// SPDX-License-Identifier: Apache-2.0
// What an index remembers of the file that an item was made of: in the item's metadata, beside
// whatever else is there, as "file": {"bytes": 123, "mtime_ns": 456, "xxh64": "0123456789abcdef"}.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace hh::pipeline {

struct FileRecord {
  std::int64_t bytes = 0;
  std::int64_t mtime_ns = 0;   // of its last change, since 1970
  std::uint64_t checksum = 0;  // XXH64 of its bytes

  bool same_time(const FileRecord& other) const {
    return bytes == other.bytes && mtime_ns == other.mtime_ns;
  }
  bool same_content(const FileRecord& other) const {
    return bytes == other.bytes && checksum == other.checksum;
  }
};

/// Without its check sum; nothing where there is no file, or it can't be looked at.
std::optional<FileRecord> record_of(const std::filesystem::path& file);
/// Reads the file. Throws std::runtime_error.
std::uint64_t checksum_of(const std::filesystem::path& file);

/// Nothing where the metadata, a JSON object or "", tell of no file.
std::optional<FileRecord> record_in(const std::string& metadata);
std::string with_record(const std::string& metadata, const FileRecord& record);

}  // namespace hh::pipeline
