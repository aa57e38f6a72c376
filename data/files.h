// Whole files in and out.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace hh::data {

/// Throws std::runtime_error with the path and the system's reason, or if it is over `max_bytes`.
std::vector<std::uint8_t> read_file(const std::filesystem::path& path, std::int64_t max_bytes);

/// Unpacks gzip; anything that doesn't start with gzip's magic is returned as it is. Throws
/// std::runtime_error on corrupt or truncated data, or if the result is over `max_bytes`.
std::vector<std::uint8_t> gunzip(std::vector<std::uint8_t> bytes, std::int64_t max_bytes);

/// Written under a temporary name in the same folder, synced, renamed: never seen half-written.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

}  // namespace hh::data
