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
// absent), scaled_shorter_side (pixels, or absent), int8_mixed and decoding_mixed ("true", or absent;
// code_origin.h). One part of several (parts.h) also has part
// ("3/1000"), base, list_lines, list_xxh64 (16 hexadecimal digits), transform and dtype. Nothing in a file is trusted.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/files/safetensors.h"
#include "retrieval/codes/code_origin.h"
#include "retrieval/codes/codes.h"
#include "retrieval/codes/labels_view.h"

namespace hh::retrieval {

inline constexpr int kCodeFileVersion = 1;
inline constexpr int kMaxClasses = 1 << 16;

/// Of a code file that holds one part of a list's codes: which, and of what. Parts of one list by one
/// model differ in `number` and `base` alone.
struct PartOfList {
  std::int64_t number = 0, count = 1;
  std::int64_t base = 0;         // of the list's images, the first of this part
  std::int64_t list_lines = 0;   // images of the whole list
  std::uint64_t list_xxh64 = 0;  // of the whole list
  std::string transform;         // of the model, JSON
  std::string dtype;             // of the activations

  static constexpr std::int64_t kMaxCount = 1'000'000;
  /// "3/1000": a number from 0 and a count up to kMaxCount; nothing for any other text.
  static std::optional<PartOfList> named(const std::string& text);
  /// Images before part `number` of `count`.
  static std::int64_t begin(std::int64_t number, std::int64_t count, std::int64_t lines);
  std::int64_t end() const { return begin(number + 1, count, list_lines); }
};

/// The contents of a code file. Every array has one entry an item, or none at all.
struct CodeSet : CodeOrigin {
  PackedCodes codes;
  std::vector<std::int64_t> ids;         // [n]
  int classes = 0;                       // 0: no labels
  std::vector<std::uint64_t> labels;     // [n, ceil(classes / 64)]
  std::vector<std::string> names;        // [n] or empty
  std::vector<float> outputs;            // [n, bits] or empty
  std::vector<std::string> class_names;  // [classes] or empty
  std::optional<PartOfList> part;

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

/// Which columns a code file has, and how long they are.
struct CodeFileColumns {
  std::int64_t count = 0;       // rows
  std::int64_t name_bytes = 0;  // of all names together
  bool names = false, outputs = false;
};
/// codes, ids, labels where `about` has classes, names, name_offsets, outputs: those that there are.
/// The rows of `about`, if it has any, aren't looked at.
std::vector<SafetensorsTensor> code_file_tensors(const CodeSet& about,
                                                 const CodeFileColumns& columns);
/// The head of a file of these columns.
SafetensorsHead code_file_head(const CodeSet& about, const CodeFileColumns& columns);

/// What a code file says of itself, told without reading its rows.
struct CodeFileHead {
  CodeSet about;  // without rows; its codes have the file's bits
  CodeFileColumns columns;
};
/// Throws as read_code_file(). `name` is for errors.
CodeFileHead read_code_file_head(const SafetensorsFile& file, const std::string& name);

/// Codes of a file by its kind: a code file, or, where the name ends in .npy, uint8 [n, bits/8]
/// (ids 0, 1, ...; no labels or names); or of all parts of a list in a folder (parts.h).
CodeSet read_codes(const std::filesystem::path& path);

}  // namespace hh::retrieval
