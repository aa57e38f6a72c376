// SPDX-License-Identifier: Apache-2.0
// The file that `hybridhash encode` writes and every other command reads: codes and all that is
// known about their items. A safetensors container (engine/files/safetensors.h) with
//
//   codes         U8  [n, ceil(bits/8)]   bit j of a code = byte[j / 8] >> (j % 8) & 1, 1 for +1
//   ids           I64 [n]           the caller's number of each item
//   labels        I64 [n, words]    packed, class c = bit c % 64 of word c / 64; absent: no labels
//   names         U8  [total]       paths or names as bytes, one after another; absent: no names
//   name_offsets  I64 [n + 1]       item i's name is names[name_offsets[i], name_offsets[i + 1])
//   outputs       F32 [n, bits]     the network's real-valued outputs; absent: not kept
//
// and metadata, all strings: format ("hybridhash codes"), version ("1"), bits, classes,
// class_names (a JSON list, or absent), model_hash, source, exif_orientation ("true", "false", or
// absent). Nothing in a file is trusted.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "retrieval/codes/codes.h"
#include "retrieval/codes/labels_view.h"

namespace hh::retrieval {

inline constexpr int kCodeFileVersion = 1;
inline constexpr int kMaxClasses = 1 << 16;

/// The contents of a code file. Every array has one entry an item, or none at all.
struct CodeSet {
  PackedCodes codes;
  std::vector<std::int64_t> ids;         // [n]
  int classes = 0;                       // 0: no labels
  std::vector<std::uint64_t> labels;     // [n, ceil(classes / 64)]
  std::vector<std::string> names;        // [n] or empty
  std::vector<float> outputs;            // [n, bits] or empty
  std::vector<std::string> class_names;  // [classes] or empty
  std::string model_hash;                // of the weights; empty: unknown
  std::string source;                    // what was encoded, in words
  /// Whether photographs were turned as their EXIF data says before they were encoded.
  std::optional<bool> exif_orientation;

  std::int64_t count() const { return codes.count(); }
  LabelsView label_view() const { return {labels.data(), classes == 0 ? 0 : count(), classes}; }
  /// Item i's name, or "#id" where names are not kept.
  std::string name(std::int64_t i) const;
  /// Throws std::invalid_argument when arrays don't fit each other.
  void validate() const;
};

/// Atomically. Throws std::invalid_argument (validate) and std::runtime_error.
void write_code_file(const std::filesystem::path& path, const CodeSet& set);

/// Throws std::runtime_error with file and place: another format, a newer version, wrong types or
/// shapes, offsets that go back or past the end, label bits past the last class.
CodeSet read_code_file(const std::filesystem::path& path);
/// The same from memory; `name` is for errors.
CodeSet parse_code_file(std::span<const std::byte> bytes, const std::string& name);

/// Codes of a file by its kind: a code file, or, where the name ends in .npy, uint8 [n, bits/8]
/// (ids 0, 1, ...; no labels or names).
CodeSet read_codes(const std::filesystem::path& path);

}  // namespace hh::retrieval
