// SPDX-License-Identifier: Apache-2.0
// manifest.json of an index: what the index is at this moment. It is the only file that is ever
// replaced, in one step; all others are new files, or grow behind what the manifest counts.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "retrieval/codes/code_origin.h"

namespace hh::retrieval {

/// 2: may keep outputs.
inline constexpr int kIndexVersion = 2;

/// Rows that were added together, with the check sums of their codes, ids and, if kept, outputs.
struct IndexSegment {
  std::int64_t rows = 0;
  std::uint64_t codes = 0, ids = 0, outputs = 0;
};

struct IndexManifest : CodeOrigin {
  /// Drawn when the index is made; 0: by a program that drew none. A copy has it too (a snapshot that can be
  /// changed has one of its own).
  std::uint64_t identity = 0;
  std::int64_t generation = 0;  // one more with each change
  std::int64_t base = 0;        // in the names of codes, ids and items; compaction starts a new one
  int bits = 0;
  bool outputs = false;  // whether the network's real-valued outputs are kept
  int classes = 0;
  std::vector<std::string> class_names;  // [classes] or empty
  std::vector<IndexSegment> segments;
  std::int64_t deleted_file = -1;  // generation that wrote the delete marks; -1: none
  std::int64_t deleted = 0;        // rows marked
  std::uint64_t deleted_checksum = 0;
  std::int64_t next_id = 0;  // above all ids ever given
  /// The last row that the database tells something of, by which a database that lost rows shows.
  std::int64_t last_described = -1;

  std::int64_t rows() const;  // deleted ones too

  /// The oldest that can hold it: an index without outputs stays readable for older programs.
  int version() const { return outputs ? 2 : 1; }
  std::size_t code_bytes() const { return std::size_t(bits + 63) / 64 * sizeof(std::uint64_t); }
  std::size_t output_bytes() const { return std::size_t(bits) * sizeof(float); }  // both of a row
  std::string codes_name() const { return "codes-" + std::to_string(base) + ".bin"; }
  std::string ids_name() const { return "ids-" + std::to_string(base) + ".bin"; }
  std::string outputs_name() const { return "outputs-" + std::to_string(base) + ".bin"; }
  std::string items_name() const { return "items-" + std::to_string(base) + ".db"; }
  std::string deleted_name() const { return "deleted-" + std::to_string(deleted_file) + ".bin"; }
};

/// One that no other index has.
std::uint64_t new_identity();

/// JSON with a check sum of its own.
std::string to_text(const IndexManifest& manifest);
/// Throws std::runtime_error, starting with `name`: another format, a newer version, damage.
IndexManifest parse_index_manifest(const std::string& text, const std::string& name);

/// Of the index in `folder`.
IndexManifest read_index_manifest(const std::filesystem::path& folder);
/// Replaces it. When this returns, the change it describes lasts.
void write_index_manifest(const std::filesystem::path& folder, const IndexManifest& manifest);

}  // namespace hh::retrieval
