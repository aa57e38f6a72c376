// SPDX-License-Identifier: Apache-2.0
#include "retrieval/engines/postgres/postgres_collection.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <unordered_map>
#include <utility>

#include "engine/files/file_error.h"
#include "kernels/core/check.h"
#include "retrieval/engines/interface_identity.h"
#include "retrieval/engines/postgres/filter_sql.h"

namespace hh::retrieval::postgres {
namespace {

constexpr const char* kAbouts = "hh_collections";
constexpr std::int64_t kAnswerRows = 1'000'000;  // of one round trip's searches
constexpr std::size_t kPieceBytes = 32 << 20;    // of paths and metadata in a piece that is pulled
constexpr std::size_t kIdsAtOnce = 100'000;
constexpr const char* kCopied = " FROM STDIN (FORMAT binary)";

/// Hash partitions of a new collection.
int partitions() {
  const char* const text = std::getenv("HH_POSTGRES_PARTITIONS");
  if (text == nullptr || *text == '\0') return 4;
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  HH_REQUIRE(*end == '\0' && value >= 1 && value <= 1024,
             "HH_POSTGRES_PARTITIONS=" << text << ": use 1 to 1024");
  return int(value);
}

std::string partition_name(const std::string& collection, int number) {
  return "\"hh_part" + std::to_string(number) + "_" + collection + "\"";
}

/// `what_` of a value of the server's own catalogue.
std::string text_of(const Rows& rows, int row, int column) {
  return std::string(rows.bytes(row, column));
}

/// Of who may change a collection: the same for all programs that find its table.
std::string lock_key(Parameters& parameters, const std::string& collection) {
  return "hashtextextended('hh_items_' || coalesce(current_schema(), '') || '.' || " +
         parameters.text(collection) + ", 0)";
}

}  // namespace

PostgresCollection::PostgresCollection(const CollectionPlace& place,
                                       const std::function<bool()>& stopped)
    : Collection(stopped),
      place_(place),
      table_("\"hh_items_" + place.collection + "\""),
      connection_(connect()) {
  what_ = "collection " + place.collection + " (" + connection_->name() + ")";
}

std::unique_ptr<Connection> PostgresCollection::connect() {
  return std::make_unique<Connection>(place_.url, [this] { return stopped(); });
}

Connection& PostgresCollection::connection() {
  if (connection_ && connection_->alive()) return *connection_;
  const bool had = locked_;
  locked_ = staging_ = false;
  about_.reset();
  connection_.reset();
  if (had) {
    throw TryAgain(what_ + ": the connection was lost, and with it the right to change it");
  }
  connection_ = connect();
  return *connection_;
}

template <class Read>
auto PostgresCollection::read(const Read& read) {
  const bool was_alive = connection_ && connection_->alive() && !locked_;
  try {
    return read();
  } catch (const TryAgain&) {
    if (!was_alive || !connection_ || connection_->alive()) throw;
  }
  return read();
}

std::string PostgresCollection::server() { return connection().server(); }

std::optional<CollectionAbout> PostgresCollection::about() {
  return read([&]() -> std::optional<CollectionAbout> {
    Connection& c = connection();
    about_.reset();
    Parameters names;
    const std::string abouts = names.text(kAbouts), table = names.text(table_);
    const Rows there = c.run(
        "SELECT to_regclass(" + abouts + ") IS NOT NULL, to_regclass(" + table + ") IS NOT NULL",
        names);
    const bool has_abouts = there.truth(0, 0), has_table = there.truth(0, 1);
    std::optional<CollectionAbout> about;
    if (has_abouts) {
      Parameters name;
      const std::string value = name.text(place_.collection);
      try {
        const Rows rows = c.run("SELECT about::text FROM hh_collections WHERE name = " + value +
                                    " ORDER BY name LIMIT 2",
                                name);
        if (rows.count() > 0) about = CollectionAbout::parse(text_of(rows, 0, 0), what_);
      } catch (const SqlError& error) {
        if (error.state.substr(0, 2) != "42" || error.state == "42501") throw;
        throw std::runtime_error(what_ +
                                 ": the table hh_collections isn't of this program: use "
                                 "another database or schema");
      }
    }
    if (!about) {
      if (!has_table) return std::nullopt;
      throw std::runtime_error(what_ + ": there is a table " + table_ +
                               " that isn't of this program: use another name");
    }
    if (!has_table) {
      throw std::runtime_error(what_ + ": its table " + table_ +
                               " is gone; push the index anew with --overwrite");
    }
    check_table(*about);
    about_ = *about;
    return about;
  });
}

void PostgresCollection::check_table(const CollectionAbout& about) {
  Parameters name;
  const std::string table = name.text(table_);
  const Rows rows = connection().run(
      "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = "
      "to_regclass(" +
          table + ") AND attnum > 0 AND NOT attisdropped",
      name);
  const std::pair<const char*, std::string> wanted[] = {
      {"id", "bigint"},        {"code", "bit(" + std::to_string(about.bits) + ")"},
      {"labels", "integer[]"}, {"path", "text"},
      {"path_bytes", "bytea"}, {"metadata", "text"}};
  for (const auto& [column, type] : wanted) {
    std::string found;
    for (int row = 0; row < rows.count(); ++row) {
      if (rows.bytes(row, 0) == column) found = text_of(rows, row, 1);
    }
    if (found == type) continue;
    throw std::runtime_error(what_ + ": not a usable collection: column " + column + " is " +
                             (found.empty() ? "missing" : found) + ", not " + type +
                             "; use another name, or push the index anew with --overwrite");
  }
}

const CollectionAbout& PostgresCollection::known() {
  connection();
  if (!about_ && !about()) {
    throw std::invalid_argument(what_ +
                                ": there is no such collection; hybridhash index push makes one");
  }
  return *about_;
}

void PostgresCollection::create(const CollectionAbout& about) {
  check_bits(about.bits);
  Connection& c = connection();
  Transaction transaction(c);
  // IF NOT EXISTS fails when two do it at once.
  c.run("SELECT pg_advisory_xact_lock(hashtextextended('hh_collections', 0))");
  c.run("CREATE TABLE IF NOT EXISTS hh_collections(name text PRIMARY KEY, about text NOT NULL)");
  c.run("CREATE TABLE " + table_ + "(id bigint PRIMARY KEY, code bit(" +
        std::to_string(about.bits) +
        ") NOT NULL, labels int[] NOT NULL DEFAULT '{}', path text, path_bytes bytea, metadata "
        "text) PARTITION BY HASH (id)");
  const int count = partitions();
  for (int i = 0; i < count; ++i) {
    c.run("CREATE TABLE " + partition_name(place_.collection, i) + " PARTITION OF " + table_ +
          " FOR VALUES WITH (MODULUS " + std::to_string(count) + ", REMAINDER " +
          std::to_string(i) + ")");
  }
  Parameters row;
  const std::string name = row.text(place_.collection), text = row.text(about.to_json());
  c.run("INSERT INTO hh_collections(name, about) VALUES (" + name + ", " + text + ")", row);
  transaction.commit();
  about_ = about;
}

void PostgresCollection::drop() {
  Connection& c = connection();
  Transaction transaction(c);
  Parameters name;
  const std::string value = name.text(place_.collection);
  const bool any = c.run("SELECT to_regclass('hh_collections') IS NOT NULL").truth(0, 0);
  HH_REQUIRE(any, what_ << ": there is no such collection");
  // First what says that the table is ours.
  const Rows row = c.run("DELETE FROM hh_collections WHERE name = " + value, name);
  HH_REQUIRE(row.changed() == 1, what_ << ": there is no such collection");
  c.run("DROP TABLE IF EXISTS " + table_);
  transaction.commit();
  about_.reset();
  staging_ = false;
  c.run("DROP TABLE IF EXISTS pg_temp.hh_staging");
}

void PostgresCollection::lock(double wait_seconds) {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::duration<double>(wait_seconds);
  while (true) {
    Parameters name;
    const std::string key = lock_key(name, place_.collection);
    const Rows row = connection().run("SELECT pg_try_advisory_lock(" + key + ")", name);
    if (row.truth(0, 0)) break;
    if (Clock::now() >= until || stopped()) {
      throw TryAgain(what_ + ": another program changes it; try again when it's done");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  locked_ = true;
}

void PostgresCollection::unlock() {
  if (!locked_) return;
  locked_ = false;
  if (!connection_ || !connection_->alive()) return;
  Parameters name;
  const std::string key = lock_key(name, place_.collection);
  connection_->run("SELECT pg_advisory_unlock(" + key + ")", name);
}

void PostgresCollection::keep(const CollectionAbout& after) {
  Parameters row;
  const std::string name = row.text(place_.collection), text = row.text(after.to_json());
  const Rows done =
      connection().run("UPDATE hh_collections SET about = " + text + " WHERE name = " + name, row);
  if (done.changed() != 1) {
    throw std::runtime_error(what_ + ": it was removed meanwhile; push the index again");
  }
}

void PostgresCollection::copy(const ItemSet& items, const std::string& table) {
  constexpr std::size_t kChunk = 1 << 18;
  std::int64_t i = 0;
  const std::int64_t rows = connection().copy_in(
      "COPY " + table + "(" + kColumns + ")" + kCopied, [&](std::string& bytes) {
        if (i == 0) bytes += copy_head();
        while (i < items.set.count() && bytes.size() < kChunk) append_row(bytes, items, i++);
        if (i < items.set.count()) return true;
        bytes += copy_end();
        return false;
      });
  if (rows != items.set.count()) {
    throw std::runtime_error(what_ + ": the server took " + std::to_string(rows) + " rows of " +
                             std::to_string(items.set.count()));
  }
}

void PostgresCollection::put_anew(const ItemSet& items, const CollectionAbout& after) {
  Transaction transaction(connection());
  copy(items, table_);
  keep(after);
  transaction.commit();
}

void PostgresCollection::put_in_place(const ItemSet& items, const CollectionAbout& after) {
  Connection& c = connection();
  if (!staging_) {
    c.run("CREATE TEMP TABLE IF NOT EXISTS hh_staging(id bigint, code bit(" +
          std::to_string(items.set.codes.bits()) +
          "), labels int[], path text, path_bytes bytea, metadata text) ON COMMIT DELETE ROWS");
    staging_ = true;
  }
  Transaction transaction(c);
  copy(items, "pg_temp.hh_staging");
  // What is there already isn't written again.
  c.run("INSERT INTO " + table_ + " AS old(" + kColumns + ") SELECT " + kColumns +
        " FROM pg_temp.hh_staging ON CONFLICT (id) DO UPDATE SET code = EXCLUDED.code, labels = "
        "EXCLUDED.labels, path = EXCLUDED.path, path_bytes = EXCLUDED.path_bytes, metadata = "
        "EXCLUDED.metadata WHERE (old.code, old.labels, old.path, old.path_bytes, old.metadata) IS "
        "DISTINCT FROM (EXCLUDED.code, EXCLUDED.labels, EXCLUDED.path, EXCLUDED.path_bytes, "
        "EXCLUDED.metadata)");
  keep(after);
  transaction.commit();
}

void PostgresCollection::put(const ItemSet& items, const CollectionAbout& after) {
  items.validate();
  known();
  changed_ += items.set.count();
  const auto& ids = items.set.ids;
  if (!ids.empty()) {
    // Ids above all that are there conflict with none: no detour then.
    const Rows most = connection().run("SELECT coalesce(max(id), -1) FROM " + table_);
    const bool above = *std::min_element(ids.begin(), ids.end()) > most.integer(0, 0);
    try {
      above ? put_anew(items, after) : put_in_place(items, after);
    } catch (const SqlError& error) {
      constexpr const char* kTwice = "23505";  // someone put such an id meanwhile
      if (!above || error.state != kTwice) throw;
      put_in_place(items, after);
    }
  } else {
    keep(after);
  }
  about_ = after;
}

std::int64_t PostgresCollection::remove(std::span<const std::int64_t> ids,
                                        const CollectionAbout& after) {
  known();
  Connection& c = connection();
  std::int64_t removed = 0;
  Transaction transaction(c);
  for (std::size_t begin = 0; begin < ids.size(); begin += kIdsAtOnce) {
    Parameters some;
    const std::string values =
        some.integers(ids.subspan(begin, std::min(kIdsAtOnce, ids.size() - begin)));
    removed += c.run("DELETE FROM " + table_ + " WHERE id = ANY(" + values + ")", some).changed();
  }
  keep(after);
  transaction.commit();
  changed_ += removed;
  about_ = after;
  return removed;
}

void PostgresCollection::settle(const CollectionAbout& after) {
  known();
  Connection& c = connection();
  Parameters name;
  const std::string table = name.text(table_);
  // -1: never counted.
  const Rows size = c.run(
      "SELECT coalesce(sum(reltuples)::bigint, 0), coalesce(min(reltuples)::bigint, -1) FROM "
      "pg_class WHERE oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass(" +
          table + "))",
      name);
  constexpr std::int64_t kPart = 10;  // a tenth of the rows is changed
  if (changed_ > 0 && (size.integer(0, 1) < 0 ||
                       changed_ >= std::max<std::int64_t>(size.integer(0, 0), 1) / kPart)) {
    try {
      c.run("ANALYZE " + table_);
    } catch (const SqlError&) {  // without the right to: searches find the same
    }
    changed_ = 0;
  }
  keep(after);
  about_ = after;
}

void PostgresCollection::check_finds(std::span<const CollectionFilter> filters, bool found) {
  for (const CollectionFilter& one : filters) {
    const IndexFilter& filter = one.filter;
    const bool negated = filter.op == "!=";
    if (!is_of_metadata(filter) || (found && !negated)) continue;
    const auto any = [&](const auto& test) {
      Parameters parameters;
      const std::string where = test(parameters);
      return connection()
          .run("SELECT EXISTS(SELECT 1 FROM " + table_ + " WHERE " + where + ")", parameters)
          .truth(0, 0);
    };
    const auto has = [&](const char* type) {
      return any([&](Parameters& p) { return has_member(filter, type, p); });
    };
    if (!negated && any([&](Parameters& p) { return condition(std::span(&one, 1), p); })) {
      continue;
    }
    if (!any([](Parameters&) { return std::string("true"); })) return;  // there are no items
    HH_REQUIRE(has(""), "filter '" << filter.text << "': no item's metadata have a '"
                                   << filter.field
                                   << "'; what all items have is called label, path and id");
    const bool ordered = filter.op != "=" && !negated;
    const bool words = filter.value.find_first_of("0123456789") == std::string::npos;
    HH_REQUIRE(!ordered || !words || !has("number") || has("string"),
               "filter '" << filter.text << "': '" << filter.value << "' isn't a number, and '"
                          << filter.field << "' is one");
  }
}

std::int64_t PostgresCollection::count(std::span<const CollectionFilter> filters) {
  return read([&] {
    known();
    Parameters parameters;
    const std::string where = condition(filters, parameters);
    const Rows rows =
        connection().run("SELECT count(*) FROM " + table_ + " WHERE " + where, parameters);
    const std::int64_t count = rows.integer(0, 0);
    check_finds(filters, count > 0);
    return count;
  });
}

std::vector<std::vector<CollectionHit>> PostgresCollection::search(
    CodesView queries, const CollectionRequest& request) {
  return read([&] {
    const CollectionAbout& about = known();
    HH_REQUIRE(queries.bits == about.bits,
               "queries of " << queries.bits << " bits, but " << what_ << " has " << about.bits);
    HH_REQUIRE(request.k >= 1, "k = " << request.k << ": use 1 or more");
    std::string sql;
    std::vector<Parameters> each;
    for (std::int64_t q = 0; q < queries.count; ++q) {
      Parameters parameters;
      const std::string code = parameters.code(queries, q);
      const std::string distance = "bit_count(code # " + code + ")";
      std::string where = condition(request.filters, parameters);
      if (request.radius)
        where += " AND " + distance + " <= " + parameters.integer(*request.radius);
      if (!request.exclude.empty()) {
        where += " AND id <> " + parameters.integer(request.exclude[std::size_t(q)]);
      }
      // The same text for each of them.
      sql = "SELECT id, " + distance + " FROM " + table_ + " WHERE " + where +
            " ORDER BY 2, 1 LIMIT " + parameters.integer(request.k);
      each.push_back(std::move(parameters));
    }
    const auto at_once =
        std::size_t(std::clamp<std::int64_t>(kAnswerRows / request.k, 1, kAnswerRows));
    std::vector<std::vector<CollectionHit>> all;
    bool full = true;
    for (std::size_t begin = 0; begin < each.size(); begin += at_once) {
      const auto some =
          std::span<const Parameters>(each).subspan(begin, std::min(at_once, each.size() - begin));
      for (const Rows& rows : connection().run_each(sql, some)) {
        std::vector<CollectionHit>& hits = all.emplace_back();
        hits.reserve(std::size_t(rows.count()));
        for (int row = 0; row < rows.count(); ++row) {
          const std::int64_t distance = rows.integer(row, 1);
          if (distance < 0 || distance > about.bits || row >= request.k) {
            throw std::runtime_error(what_ +
                                     ": the server answers with what can't be (a distance of " +
                                     std::to_string(distance) + " or too many items)");
          }
          hits.push_back({rows.integer(row, 0), int(distance)});
        }
        full = full && !hits.empty();
      }
    }
    check_finds(request.filters, full);
    return all;
  });
}

std::vector<CollectionItem> PostgresCollection::items_of(const Rows& rows) {
  const RowReader reader(*about_, what_, /*ids_only=*/false);
  std::vector<CollectionItem> items;
  for (int row = 0; row < rows.count(); ++row) {
    std::optional<std::string_view> values[6];
    for (int column = 0; column < 6; ++column) {
      if (!rows.is_null(row, column)) values[column] = rows.bytes(row, column);
    }
    items.push_back(reader.item(values));
  }
  return items;
}

std::vector<CollectionItem> PostgresCollection::items(std::span<const std::int64_t> ids) {
  return read([&] {
    known();
    std::vector<CollectionItem> items;
    for (std::size_t begin = 0; begin < ids.size(); begin += kIdsAtOnce) {
      const auto some = ids.subspan(begin, std::min(kIdsAtOnce, ids.size() - begin));
      Parameters parameters;
      const std::string values = parameters.integers(some);
      const Rows rows = connection().run(
          std::string("SELECT ") + kColumns + " FROM " + table_ + " WHERE id = ANY(" + values + ")",
          parameters);
      std::vector<CollectionItem> found = items_of(rows);
      std::unordered_map<std::int64_t, const CollectionItem*> by_id;
      for (const CollectionItem& item : found) by_id[item.id] = &item;
      for (const std::int64_t id : some) {
        if (const auto at = by_id.find(id); at != by_id.end()) items.push_back(*at->second);
      }
    }
    return items;
  });
}

std::vector<CollectionItem> PostgresCollection::list(std::int64_t after, std::int64_t limit,
                                                     std::span<const CollectionFilter> filters) {
  return read([&] {
    known();
    Parameters parameters;
    const std::string where = condition(filters, parameters);
    const std::string above = parameters.integer(after), most = parameters.integer(limit);
    const Rows rows =
        connection().run(std::string("SELECT ") + kColumns + " FROM " + table_ + " WHERE id > " +
                             above + " AND " + where + " ORDER BY id LIMIT " + most,
                         parameters);
    std::vector<CollectionItem> items = items_of(rows);
    check_finds(filters, !items.empty());
    return items;
  });
}

void PostgresCollection::check_order(std::int64_t before, std::int64_t id) const {
  if (id > before) return;
  throw std::runtime_error(what_ + ": the server gives item " + std::to_string(id) + " behind " +
                           std::to_string(before) + ", so ids aren't in order");
}

void PostgresCollection::pull(const std::function<void(const ItemSet&)>& piece) {
  const CollectionAbout about = known();
  Connection& c = connection();
  // One statement is one snapshot. It may take as long as its reader does.
  Transaction transaction(c, "BEGIN READ ONLY");
  c.run("SET LOCAL statement_timeout = 0");
  RowReader reader(about, what_, /*ids_only=*/false);
  const ItemSet empty{.set = about.code_set(), .metadata = {}};
  ItemSet items = empty;
  std::size_t bytes = 0;
  std::int64_t last = -1;
  const auto hand_over = [&] {
    if (items.set.count() > 0) piece(items);
    items = empty;
    bytes = 0;
  };
  c.copy_out(std::string("COPY (SELECT ") + kColumns + " FROM " + table_ +
                 " ORDER BY id) TO STDOUT (FORMAT binary)",
             [&](std::string_view some) {
               reader.read(some, [&](CollectionItem&& item) {
                 check_order(std::exchange(last, item.id), item.id);
                 bytes += item.description.path.size() + item.description.metadata.size();
                 append_item(items, std::move(item));
                 if (items.set.count() >= kPiece || bytes >= kPieceBytes) hand_over();
               });
             });
  reader.check_end();
  hand_over();
  transaction.commit();
}

void PostgresCollection::pull_ids(const std::function<void(std::span<const std::int64_t>)>& piece) {
  const CollectionAbout about = known();
  Connection& c = connection();
  Transaction transaction(c, "BEGIN READ ONLY");
  c.run("SET LOCAL statement_timeout = 0");
  RowReader reader(about, what_, /*ids_only=*/true);
  std::vector<std::int64_t> ids;
  std::int64_t last = -1;
  c.copy_out("COPY (SELECT id FROM " + table_ + " ORDER BY id) TO STDOUT (FORMAT binary)",
             [&](std::string_view some) {
               reader.read(some, [&](CollectionItem&& item) {
                 check_order(std::exchange(last, item.id), item.id);
                 ids.push_back(item.id);
                 if (std::int64_t(ids.size()) < kPiece) return;
                 piece(ids);
                 ids.clear();
               });
             });
  reader.check_end();
  if (!ids.empty()) piece(ids);
  transaction.commit();
}

}  // namespace hh::retrieval::postgres

extern "C" {

__attribute__((visibility("default"))) hh::retrieval::Collection* hh_open_collection(
    const hh::retrieval::CollectionPlace& place, const std::function<bool()>& stopped) {
  return new hh::retrieval::postgres::PostgresCollection(place, stopped);
}

__attribute__((visibility("default"))) std::uint64_t hh_collection_build_identity() {
  return hh::retrieval::kCollectionInterfaceIdentity;
}
}
