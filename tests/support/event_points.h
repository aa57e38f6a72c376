// SPDX-License-Identifier: Apache-2.0
// A run folder's TensorBoard points, as TensorBoard shows them.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/text_file.h"

namespace hh::testing {

/// By tag, in the order they are read: step and value.
using EventPoints = std::map<std::string, std::vector<std::pair<std::int64_t, float>>>;

/// Takes a varint off the front.
inline std::uint64_t take_varint(std::string_view& rest) {
  std::uint64_t value = 0;
  for (int shift = 0; !rest.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(rest[0]);
    rest.remove_prefix(1);
    value |= std::uint64_t(byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return value;
}

/// The fields of a protocol buffer by number; numbers as their bytes or as decimal text (varints).
inline std::map<std::uint64_t, std::string> fields_of(std::string_view message) {
  std::map<std::uint64_t, std::string> fields;
  while (!message.empty()) {
    const std::uint64_t key = take_varint(message);
    const auto kind = key & 7;
    if (kind == 0) {
      fields[key >> 3] = std::to_string(take_varint(message));
      continue;
    }
    const std::size_t size = kind == 1 ? 8 : kind == 5 ? 4 : take_varint(message);
    fields[key >> 3] = message.substr(0, size);
    message.remove_prefix(std::min(size, message.size()));
  }
  return fields;
}

/// Files in the order of their names; a record that is cut off ends its file; a start of a session
/// takes back all points at its step and later.
inline EventPoints event_points(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  EventPoints points;
  for (const auto& file : files) {
    const std::string text = read_text(file);
    std::string_view rest = text;
    while (rest.size() >= 12) {
      std::uint64_t length = 0;
      std::memcpy(&length, rest.data(), 8);
      if (rest.size() < 12 + length + 4) break;
      auto event = fields_of(rest.substr(12, length));
      rest.remove_prefix(12 + length + 4);
      const std::int64_t step = event.contains(2) ? std::stoll(event[2]) : 0;
      if (event.contains(7)) {
        for (auto& [tag, of_tag] : points) {
          std::erase_if(of_tag, [&](const auto& point) { return point.first >= step; });
        }
      }
      if (!event.contains(5)) continue;
      auto value = fields_of(fields_of(event[5])[1]);
      float number = 0;
      std::memcpy(&number, value[2].data(), sizeof number);
      points[value[1]].emplace_back(step, number);
    }
  }
  return points;
}

}  // namespace hh::testing
