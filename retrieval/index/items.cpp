// SPDX-License-Identifier: Apache-2.0
#include "retrieval/index/items.h"

#include <sqlite3.h>

#include <charconv>
#include <stdexcept>

#include "engine/files/file_error.h"

namespace hh::retrieval {
namespace {

constexpr int kSchemaVersion = 1;
constexpr int kBusyMilliseconds = 10'000;

/// A path as SQLite's URI.
std::string uri(const std::filesystem::path& path) {
  std::string text = "file:";
  for (const char c : std::filesystem::absolute(path).string()) {
    if (c == '?' || c == '#' || c == '%') {
      constexpr const char* kDigits = "0123456789ABCDEF";
      const auto byte = static_cast<unsigned char>(c);
      text += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    } else {
      text += c;
    }
  }
  return text;
}

}  // namespace

class ItemTable::Statement {
 public:
  Statement(const ItemTable& table, const std::string& sql) : table_(table) {
    if (sqlite3_prepare_v2(table.database_, sql.c_str(), int(sql.size()), &statement_, nullptr) !=
        SQLITE_OK) {
      table.fail(sql);
    }
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(int place, std::int64_t value) {
    sqlite3_bind_int64(statement_, place, value);
    return *this;
  }
  Statement& bind(int place, double value) {
    sqlite3_bind_double(statement_, place, value);
    return *this;
  }
  /// The text must live until the statement has run.
  Statement& bind(int place, const std::string& value) {
    sqlite3_bind_text64(statement_, place, value.data(), value.size(), SQLITE_STATIC, SQLITE_UTF8);
    return *this;
  }
  /// Whether there is a row of results.
  bool step() {
    const int result = sqlite3_step(statement_);
    if (result != SQLITE_ROW && result != SQLITE_DONE) {
      sqlite3_reset(statement_);
      table_.fail("can't be used");
    }
    return result == SQLITE_ROW;
  }
  void reset() { sqlite3_reset(statement_); }
  std::int64_t integer(int column) { return sqlite3_column_int64(statement_, column); }
  std::string text(int column) {
    const void* bytes = sqlite3_column_blob(statement_, column);
    const int size = sqlite3_column_bytes(statement_, column);
    return bytes == nullptr ? "" : std::string(static_cast<const char*>(bytes), std::size_t(size));
  }
  std::vector<std::int64_t> rows() {
    std::vector<std::int64_t> rows;
    while (step()) rows.push_back(integer(0));
    return rows;
  }

 private:
  const ItemTable& table_;
  sqlite3_stmt* statement_ = nullptr;
};

void ItemTable::fail(const std::string& what) const {
  const char* reason = database_ == nullptr ? "out of memory" : sqlite3_errmsg(database_);
  const std::string text = path_.string() + ": " + what + ": " + reason;
  const bool full = database_ != nullptr && ((sqlite3_errcode(database_) & 255) == SQLITE_FULL ||
                                             sqlite3_system_errno(database_) == ENOSPC);
  if (full) throw DiskFull(text);
  throw std::runtime_error(text);
}

void ItemTable::open(const std::string& name, int flags) {
  sqlite3_close(database_);
  database_ = nullptr;
  if (sqlite3_open_v2(name.c_str(), &database_, flags | SQLITE_OPEN_FULLMUTEX, file_.vfs()) !=
      SQLITE_OK) {
    fail("can't be opened");
  }
  sqlite3_extended_result_codes(database_, 1);
  sqlite3_busy_timeout(database_, kBusyMilliseconds);
  // Files are not trusted: a schema that calls functions or writes to shadow tables is refused.
  sqlite3_db_config(database_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(database_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
}

ItemTable::ItemTable(const std::filesystem::path& path, Mode mode) : path_(path), file_(path) {
  try {
    if (mode == Mode::kCreate) {
      open(file_.path().string(), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
      execute("PRAGMA journal_mode=WAL");
      execute("PRAGMA synchronous=FULL");
      execute(
          "BEGIN; CREATE TABLE items(row INTEGER PRIMARY KEY, path TEXT, metadata TEXT);"
          "CREATE TABLE item_labels(row INTEGER, class INTEGER, PRIMARY KEY(row, class)) "
          "WITHOUT ROWID; CREATE INDEX item_labels_by_class ON item_labels(class, row);");
      execute(("PRAGMA user_version=" + std::to_string(kSchemaVersion)).c_str());
      execute("COMMIT");
      return;
    }
    if (mode == Mode::kWrite) {
      open(file_.path().string(), SQLITE_OPEN_READWRITE);
      execute("PRAGMA synchronous=FULL");
    } else {
      open(file_.path().string(), SQLITE_OPEN_READONLY);
      // A write-ahead log needs a file beside it even for reading. Where none can be made, the
      // database is read as it lies, if it is complete without the log.
      const int result =
          sqlite3_exec(database_, "SELECT 1 FROM items", nullptr, nullptr, nullptr) & 0xff;
      const auto log = path.string() + "-wal";
      std::error_code no_log;
      const bool no_file = result == SQLITE_CANTOPEN || result == SQLITE_READONLY ||
                           result == SQLITE_IOERR || result == SQLITE_FULL;  // of a full disk
      if (no_file &&
          (!std::filesystem::exists(log) || std::filesystem::file_size(log, no_log) == 0)) {
        open(uri(file_.path()) + "?immutable=1", SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
      }
    }
    Statement version(*this, "PRAGMA user_version");
    if (!version.step() || version.integer(0) != kSchemaVersion) {
      throw std::runtime_error(path.string() + ": its schema is version " +
                               std::to_string(version.integer(0)) + ", not this program's " +
                               std::to_string(kSchemaVersion) +
                               ": use the hybridhash that wrote it, or build the index again");
    }
  } catch (...) {
    sqlite3_close(database_);
    throw;
  }
}

ItemTable::~ItemTable() {
  item_.reset();
  labels_.reset();
  sqlite3_close(database_);
}

void ItemTable::execute(const char* sql) {
  if (sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail(sql);
}

void ItemTable::drop(std::int64_t first_row) {
  for (const char* table : {"items", "item_labels"}) {
    Statement(*this, std::string("DELETE FROM ") + table + " WHERE row >= ?")
        .bind(1, first_row)
        .step();
  }
}

void ItemTable::drop_from(std::int64_t first_row) {
  const std::lock_guard lock(mutex_);
  drop(first_row);
}

void ItemTable::insert(std::int64_t first_row, std::span<const Description> descriptions,
                       const ItemsDone& progress) {
  constexpr std::size_t kBetween = 1 << 14;
  const std::lock_guard lock(mutex_);
  execute("BEGIN IMMEDIATE");
  try {
    drop(first_row);
    Statement item(*this, "INSERT INTO items VALUES(?, nullif(?, ''), nullif(?, ''))");
    Statement label(*this, "INSERT INTO item_labels VALUES(?, ?)");
    for (std::size_t i = 0; i < descriptions.size(); ++i) {
      const Description& d = descriptions[i];
      const std::int64_t row = first_row + std::int64_t(i);
      if (!d.path.empty() || !d.metadata.empty()) {
        item.bind(1, row).bind(2, d.path).bind(3, d.metadata).step();
        item.reset();
      }
      for (const int c : d.labels) {
        label.bind(1, row).bind(2, std::int64_t{c}).step();
        label.reset();
      }
      if (progress && i % kBetween == 0) progress(std::int64_t(i));
    }
    execute("COMMIT");
  } catch (...) {
    sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
    throw;
  }
}

Description ItemTable::get(std::int64_t row) const {
  const std::lock_guard lock(mutex_);
  if (!item_) {
    item_ = std::make_unique<Statement>(*this, "SELECT path, metadata FROM items WHERE row = ?");
    labels_ = std::make_unique<Statement>(
        *this, "SELECT class FROM item_labels WHERE row = ? ORDER BY class");
  }
  Description description;
  if (item_->bind(1, row).step()) {
    description.path = item_->text(0);
    description.metadata = item_->text(1);
  }
  item_->reset();
  labels_->bind(1, row);
  while (labels_->step()) description.labels.push_back(int(labels_->integer(0)));
  labels_->reset();
  return description;
}

std::vector<Description> ItemTable::get(std::int64_t first, std::int64_t end) const {
  const std::lock_guard lock(mutex_);
  std::vector<Description> all(std::size_t(end - first));
  Statement items(*this, "SELECT row, path, metadata FROM items WHERE row >= ? AND row < ?");
  items.bind(1, first).bind(2, end);
  while (items.step()) {
    Description& description = all[std::size_t(items.integer(0) - first)];
    description.path = items.text(1);
    description.metadata = items.text(2);
  }
  Statement labels(*this,
                   "SELECT row, class FROM item_labels WHERE row >= ? AND row < ? "
                   "ORDER BY row, class");
  labels.bind(1, first).bind(2, end);
  while (labels.step()) {
    all[std::size_t(labels.integer(0) - first)].labels.push_back(int(labels.integer(1)));
  }
  return all;
}

std::vector<std::int64_t> ItemTable::rows_with_class(std::span<const int> classes,
                                                     std::int64_t end) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::int64_t> rows;
  Statement find(*this, "SELECT row FROM item_labels WHERE class = ? AND row < ?");
  for (const int c : classes) {
    const auto found = find.bind(1, std::int64_t{c}).bind(2, end).rows();
    rows.insert(rows.end(), found.begin(), found.end());
    find.reset();
  }
  return rows;
}

std::vector<std::int64_t> ItemTable::rows_with_path(const std::string& text, bool glob,
                                                    std::int64_t end) const {
  const std::lock_guard lock(mutex_);
  return Statement(*this, std::string("SELECT row FROM items WHERE path ") + (glob ? "GLOB" : "=") +
                              " ? AND row < ?")
      .bind(1, text)
      .bind(2, end)
      .rows();
}

namespace {

/// a.b is member b of member a.
std::string json_path(const std::string& key) {
  std::string path = "$.\"";
  for (const char c : key) path += c == '.' ? "\".\"" : std::string(1, c);
  return path + '"';
}

}  // namespace

bool ItemTable::any_has(const std::string& key, std::int64_t end, const std::string& type) const {
  const std::lock_guard lock(mutex_);
  return !Statement(*this,
                    "SELECT row FROM items WHERE row < ?2 AND json_type(metadata, ?1) IS NOT NULL "
                    "AND (?3 = '' OR json_type(metadata, ?1) = ?3) LIMIT 1")
              .bind(1, json_path(key))
              .bind(2, end)
              .bind(3, type)
              .rows()
              .empty();
}

std::vector<std::int64_t> ItemTable::rows_with_metadata(const std::string& key,
                                                        const std::string& op,
                                                        const std::string& value,
                                                        std::int64_t end) const {
  const std::lock_guard lock(mutex_);
  const std::string path = json_path(key);
  const std::string found = "json_extract(metadata, ?1)", begin = "SELECT row FROM items WHERE ",
                    below = " AND row < ?2";
  if (op == "=" && (value == "true" || value == "false" || value == "null")) {
    return Statement(*this, begin + "json_type(metadata, ?1) = ?3" + below)
        .bind(1, path)
        .bind(2, end)
        .bind(3, value)
        .rows();
  }
  double number = 0;
  const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  const bool numeric = error == std::errc() && stop == value.data() + value.size();
  // Numbers are compared with numbers and text with text; SQLite would put all text above them.
  const std::string text = "(typeof(" + found + ") = 'text' AND " + found + " " + op + " ?3)";
  if (!numeric) {
    return Statement(*this, begin + text + below).bind(1, path).bind(2, end).bind(3, value).rows();
  }
  return Statement(*this, begin + "((json_type(metadata, ?1) IN ('integer', 'real') AND " + found +
                              " " + op + " ?4)" + (op == "=" ? " OR " + text : "") + ")" + below)
      .bind(1, path)
      .bind(2, end)
      .bind(3, value)
      .bind(4, number)
      .rows();
}

void ItemTable::copy_to(const std::filesystem::path& path) const {
  const std::lock_guard lock(mutex_);
  const ShortPath file(path);
  sqlite3* to = nullptr;
  const int opened = sqlite3_open_v2(file.path().c_str(), &to,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, file.vfs());
  sqlite3_backup* const backup =
      opened == SQLITE_OK ? sqlite3_backup_init(to, "main", database_, "main") : nullptr;
  int result = opened;
  if (backup != nullptr) {
    constexpr int kAllPages = -1;
    sqlite3_busy_timeout(to, kBusyMilliseconds);
    result = sqlite3_backup_step(backup, kAllPages);
    sqlite3_backup_finish(backup);
  }
  const std::string reason = to == nullptr ? "out of memory" : sqlite3_errmsg(to);
  sqlite3_close(to);
  const std::string text = path.string() + ": can't be written: " + reason;
  if ((result & 255) == SQLITE_FULL) throw DiskFull(text);
  if (result != SQLITE_DONE) throw std::runtime_error(text);
}

void ItemTable::checkpoint() {
  const std::lock_guard lock(mutex_);
  execute("PRAGMA wal_checkpoint(TRUNCATE)");
}

}  // namespace hh::retrieval
