// SPDX-License-Identifier: Apache-2.0
// Items as rows of a collection's table, in the form of PostgreSQL's binary COPY. The columns:
//   id bigint, code bit(n), labels int[] (ascending, never NULL), path text, path_bytes bytea,
//   metadata text
// A path that isn't UTF-8, or has a zero byte, is in path_bytes, and any other in path; no path and no metadata
// are NULL. Metadata are text: jsonb would put members in another order and write numbers anew.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "retrieval/engines/collection.h"

namespace hh::retrieval::postgres {

inline constexpr const char* kColumns = "id, code, labels, path, path_bytes, metadata";

/// The head and the end of a stream of COPY.
std::string copy_head();
std::string copy_end();
/// Behind `bytes`, one item.
void append_row(std::string& bytes, const ItemSet& items, std::int64_t i);

/// Reads the stream of COPY in pieces, cut at any place, and makes of it what the rows say. Throws
/// std::runtime_error, starting with `name`, for rows that can't be.
class RowReader {
 public:
  /// `about`: of the collection. Rows of ids alone where `ids_only`.
  RowReader(const CollectionAbout& about, std::string name, bool ids_only);
  /// More of the stream; calls `row` for each that is complete.
  void read(std::string_view bytes, const std::function<void(CollectionItem&&)>& row);
  /// Throws unless the stream has ended.
  void check_end() const;
  /// A row's values, as an answer has them: one item. A missing value is null.
  CollectionItem item(std::span<const std::optional<std::string_view>> values) const;

 private:
  [[noreturn]] void fail(const std::string& what) const;
  /// Whether a whole row was there, which goes from the front of `bytes`.
  bool next(std::string_view& bytes, const std::function<void(CollectionItem&&)>& row);

  const CollectionAbout& about_;
  std::string name_, rest_;
  bool ids_only_ = false, head_ = false, ended_ = false;
};

/// An item behind those of a set, which has the collection's classes.
void append_item(ItemSet& items, CollectionItem&& item);

}  // namespace hh::retrieval::postgres
