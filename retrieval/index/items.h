// SPDX-License-Identifier: Apache-2.0
// What an index knows of its items beside their codes: a SQLite database with
//   items(row INTEGER PRIMARY KEY, path TEXT, metadata TEXT)      only rows that have either
//   item_labels(row, class), an index on (class, row)             one row a label
// Rows are written once, before the manifest counts them, and never changed: an update is a new row
// of the index. Rows past the manifest's number are leftovers of an interrupted program.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "retrieval/index/long_path.h"

struct sqlite3;

namespace hh::retrieval {

/// Told how many items are done.
using ItemsDone = std::function<void(std::int64_t)>;

struct Description {
  std::string path;
  std::vector<int> labels;  // ascending
  std::string metadata;     // a JSON object, or empty

  bool empty() const { return path.empty() && labels.empty() && metadata.empty(); }
};

/// A connection. Safe from many threads. All functions throw std::runtime_error with the file and
/// SQLite's reason: DiskFull (engine/files/file_error.h) where there is no room.
class ItemTable {
 public:
  enum class Mode { kCreate, kRead, kWrite };
  ItemTable(const std::filesystem::path& path, Mode mode);
  ~ItemTable();
  ItemTable(const ItemTable&) = delete;
  ItemTable& operator=(const ItemTable&) = delete;

  /// Rows first_row, first_row + 1, ... in place of all that may be there from first_row on. Lasts
  /// when this returns. `progress`, where there is one, is told now and then how many are in.
  void insert(std::int64_t first_row, std::span<const Description> descriptions,
              const ItemsDone& progress = {});
  /// Removes everything from that row on.
  void drop_from(std::int64_t first_row);
  /// Of a row; empty where nothing is known.
  Description get(std::int64_t row) const;
  /// Of rows [first, end), in fewer steps.
  std::vector<Description> get(std::int64_t first, std::int64_t end) const;

  /// Rows below `end`: with one of these classes; whose path is `text`, or fits it as a glob; whose
  /// metadata compare so (`op`: = < <= > >=) with a value that is a number, true, false or text.
  std::vector<std::int64_t> rows_with_class(std::span<const int> classes, std::int64_t end) const;
  std::vector<std::int64_t> rows_with_path(const std::string& text, bool glob,
                                           std::int64_t end) const;
  std::vector<std::int64_t> rows_with_metadata(const std::string& key, const std::string& op,
                                               const std::string& value, std::int64_t end) const;
  /// Whether the metadata of a row below `end` have this member; with `type`, one of JSON's.
  bool any_has(const std::string& key, std::int64_t end, const std::string& type = "") const;

  /// All of it at one moment, whoever writes to it meanwhile, as a new database.
  void copy_to(const std::filesystem::path& path) const;
  /// Moves everything from the write-ahead log to the database's file.
  void checkpoint();

 private:
  class Statement;
  void open(const std::string& name, int flags);
  void execute(const char* sql);
  void drop(std::int64_t first_row);
  [[noreturn]] void fail(const std::string& what) const;

  std::filesystem::path path_;
  ShortPath file_;  // the same, for SQLite
  sqlite3* database_ = nullptr;
  mutable std::mutex mutex_;
  mutable std::unique_ptr<Statement> item_, labels_;  // of get()
};

}  // namespace hh::retrieval
