// SPDX-License-Identifier: Apache-2.0
// Files of rows of one size (codes, ids of an index): 64 bytes of header, then the rows. They only
// grow; how many rows count is the manifest's to say.
//   header  "HHROWS1\0", row size in bytes (u64, little-endian), zeros
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "engine/files/file.h"

namespace hh::retrieval {

// All throw std::runtime_error with the path and the reason.

/// A new file without rows. There must be none of that name.
void create_row_file(const std::filesystem::path& path, std::size_t row_bytes);

/// Writes behind the first `rows` rows, over whatever an interrupted program left there, and waits
/// for the disk.
void append_rows(const std::filesystem::path& path, std::size_t row_bytes, std::int64_t rows,
                 std::span<const std::byte> bytes);

/// The first rows of a file, mapped. Stays good while others append, and after the file is removed.
class MappedRows {
 public:
  MappedRows() = default;
  MappedRows(const std::filesystem::path& path, std::size_t row_bytes, std::int64_t rows);
  /// Aligned to 64 bytes.
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  MappedFile file_;
  std::span<const std::byte> bytes_;
};

}  // namespace hh::retrieval
