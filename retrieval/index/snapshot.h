// SPDX-License-Identifier: Apache-2.0
// The state of an index at one moment, in a folder of its own.
#pragma once
#include <cstdint>
#include <filesystem>

namespace hh::retrieval {

struct Snapshot {
  std::int64_t items = 0;
  bool linked =
      true;  // false: files were copied, as asked for or since links aren't possible there
};

/// Makes `place`, which mustn't be there, an index as `folder` is now, while other processes may write to
/// that one. Codes, ids and outputs are hard links: they take no room, and what is appended later isn't
/// counted. So a snapshot is never changed itself: IndexWriter refuses. With `copy` all files are its own,
/// and it is an index like others. Throws std::invalid_argument and std::runtime_error.
Snapshot make_snapshot(const std::filesystem::path& folder, const std::filesystem::path& place,
                       bool copy);

/// Throws std::runtime_error for an index that was made by links.
void check_is_no_snapshot(const std::filesystem::path& folder);

}  // namespace hh::retrieval
