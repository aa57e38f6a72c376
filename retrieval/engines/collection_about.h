// SPDX-License-Identifier: Apache-2.0
// What a collection says of itself, which its server keeps as a JSON object beside the items.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/files/xxh64.h"
#include "retrieval/codes/model_hash.h"
#include "retrieval/index/index.h"

namespace hh::retrieval {

struct CollectionFilter;

/// Of the tables or fields and of this JSON.
inline constexpr int kCollectionFormat = 1;

/// How far an index has been pushed into a collection.
struct PushState {
  std::uint64_t source = 0;  // push_source() of the index; 0: of none, or changed by others since
  std::int64_t generation =
      -1;                 // of the index, whose items the collection has; -1: some aren't there yet
  std::int64_t rows = 0;  // of the index that were put, or were deleted by then
  std::uint64_t sum = 0;  // of their codes and ids (RowSum)
  std::uint64_t manifest = 0;  // XXH64 of the index's manifest; 0 with generation -1
  bool strangers = false;      // there may be items that the index hasn't: removed at the end
  bool operator==(const PushState&) const = default;
};

struct CollectionAbout : CodeOrigin {
  int bits = 0;
  int classes = 0;
  std::vector<std::string> class_names;  // [classes] or empty
  std::int64_t next_id = 0;              // above all ids ever put
  PushState push;

  /// Of an index, nothing of which has been pushed.
  static CollectionAbout of(const IndexManifest& manifest);

  /// Without items, for those of the collection.
  CodeSet code_set() const;

  std::string to_json() const;
  /// Throws std::runtime_error, starting with `name`: another format, a newer one, damage.
  static CollectionAbout parse(const std::string& json, const std::string& name);

  /// Throws std::invalid_argument when such codes don't belong here: other bits, another model.
  void check_belongs(int width, const std::string& of_model,
                     Int8Codes int8 = Int8Codes::kApart) const;
  /// The name of a class, or its number.
  std::string class_name(int c) const;
  /// A class by its name or number. Throws std::invalid_argument.
  int class_of(const std::string& name) const;
  /// As Index::select() takes them (retrieval/index/filter.h). Throws std::invalid_argument.
  std::vector<CollectionFilter> filters(const std::vector<std::string>& texts) const;

  bool operator==(const CollectionAbout&) const = default;
};

/// Tells indexes apart: the same for all states of one, and of its copies, until it is compacted or made anew.
/// 0 for one that has had no items.
std::uint64_t push_source(const IndexManifest& manifest);

/// Of all that it says.
std::uint64_t manifest_sum(const IndexManifest& manifest);

/// A check sum of an index's first rows, by which copies that were changed on their own are told apart.
class RowSum {
 public:
  /// Rows are only added.
  void extend(const Index& index, std::int64_t rows);
  std::uint64_t value() const;

 private:
  Xxh64 codes_, ids_;
  std::int64_t rows_ = 0;
};

}  // namespace hh::retrieval
