// SPDX-License-Identifier: Apache-2.0
// TensorBoard's event file: a training run's numbers over its steps. Records of
//   length (u64) | masked CRC-32C of the length (u32) | bytes | masked CRC-32C of the bytes (u32)
// each a protocol buffer `Event`, all little-endian.
// Source: github.com/tensorflow/tensorflow, core/lib/io/record_writer.h, core/util/event.proto,
// core/framework/summary.proto.
#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace hh {

class EventFile {
 public:
  /// A new file events.out.tfevents.* in `folder`; TensorBoard joins it with older ones there, in the
  /// order of their names, so its name comes behind theirs. With `first_step` the older ones' points
  /// at that step and later don't count any more: those of a killed run, which are computed again.
  /// Throws std::runtime_error when it can't be made.
  explicit EventFile(const std::filesystem::path& folder,
                     std::optional<std::int64_t> first_step = {});

  /// One point of curve `tag`. Kept as a 32-bit float: the format's scalars are.
  void scalar(std::string_view tag, double value, std::int64_t step);
  /// To the disk, so that a killed run keeps it. Throws std::runtime_error if that failed.
  void flush();

  const std::filesystem::path& path() const { return path_; }

 private:
  void write(const std::string& event);

  std::filesystem::path path_;
  std::ofstream file_;
};

/// CRC-32C (Castagnoli) of bytes, plain and as records carry it.
std::uint32_t crc32c(std::span<const std::byte> bytes);
std::uint32_t masked_crc32c(std::span<const std::byte> bytes);

}  // namespace hh
