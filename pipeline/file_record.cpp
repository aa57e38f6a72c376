// SPDX-License-Identifier: Apache-2.0
#include "pipeline/file_record.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <span>

#include "engine/files/file.h"
#include "engine/files/xxh64.h"
#include "engine/text/json_text.h"

namespace hh::pipeline {
namespace {
constexpr std::size_t kMaxBytes = std::size_t{512} << 20;  // as of images
}

std::optional<FileRecord> record_of(const std::filesystem::path& file) {
  struct stat facts {};
  if (::stat(file.c_str(), &facts) != 0) return std::nullopt;
  constexpr std::int64_t kPerSecond = 1'000'000'000;
  return FileRecord{.bytes = facts.st_size,
                    .mtime_ns = facts.st_mtim.tv_sec * kPerSecond + facts.st_mtim.tv_nsec};
}

std::uint64_t checksum_of(const std::filesystem::path& file) {
  const auto bytes = read_file(file, kMaxBytes);
  return xxh64(std::as_bytes(std::span(bytes)));
}

std::optional<FileRecord> record_in(const std::string& metadata) {
  if (metadata.find("\"xxh64\"") == std::string::npos) return std::nullopt;  // most of others
  const auto json = parse_json_if_any(metadata);
  const auto file = json.is_object() ? json.find("file") : json.end();
  if (!json.is_object() || file == json.end() || !file->is_object()) return std::nullopt;
  const auto number = [&](const char* key) {
    const auto found = file->find(key);
    return found != file->end() && found->is_number_integer() ? found->get<std::int64_t>() : -1;
  };
  FileRecord record{.bytes = number("bytes"), .mtime_ns = number("mtime_ns")};
  const auto sum = file->find("xxh64");
  if (sum == file->end() || !sum->is_string() || record.bytes < 0) return std::nullopt;
  const auto& text = sum->get_ref<const std::string&>();
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), record.checksum, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return record;
}

std::string with_record(const std::string& metadata, const FileRecord& record) {
  auto json = metadata.empty() ? nlohmann::json::object() : parse_json(metadata);
  json["file"] = {{"bytes", record.bytes},
                  {"mtime_ns", record.mtime_ns},
                  {"xxh64", fmt::format("{:016x}", record.checksum)}};
  return json_text(json);
}

}  // namespace hh::pipeline
