// SPDX-License-Identifier: Apache-2.0
// A collection in PostgreSQL: a line in hh_collections and a table hh_items_NAME of its items
// (rows.h), in partitions by id, which parallel scans go through side by side.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "retrieval/engines/open_collection.h"
#include "retrieval/engines/postgres/connection.h"
#include "retrieval/engines/postgres/rows.h"

namespace hh::retrieval::postgres {

class PostgresCollection final : public Collection {
 public:
  PostgresCollection(const CollectionPlace& place, const std::function<bool()>& stopped);

  std::string server() override;
  std::optional<CollectionAbout> about() override;
  void create(const CollectionAbout& about) override;
  void drop() override;
  void lock(double wait_seconds) override;
  void unlock() override;
  void put(const ItemSet& items, const CollectionAbout& after) override;
  std::int64_t remove(std::span<const std::int64_t> ids, const CollectionAbout& after) override;
  void settle(const CollectionAbout& after) override;
  std::int64_t count(std::span<const CollectionFilter> filters) override;
  std::vector<std::vector<CollectionHit>> search(CodesView queries,
                                                 const CollectionRequest& request) override;
  std::int64_t max_k() const override { return 0; }
  std::vector<CollectionItem> items(std::span<const std::int64_t> ids) override;
  std::vector<CollectionItem> list(std::int64_t after, std::int64_t limit,
                                   std::span<const CollectionFilter> filters) override;
  void pull(const std::function<void(const ItemSet&)>& piece) override;
  void pull_ids(const std::function<void(std::span<const std::int64_t>)>& piece) override;

 private:
  std::unique_ptr<Connection> connect();
  /// Throws std::runtime_error unless ids ascend.
  void check_order(std::int64_t before, std::int64_t id) const;
  /// A connection that is alive. Throws TryAgain where one was lost that had the lock.
  Connection& connection();
  /// Once more on a new connection where the old one is found lost, as one is after the server was started
  /// anew. For what changes nothing.
  template <class Read>
  auto read(const Read& read);
  /// What the collection is, from the server where it isn't known yet.
  const CollectionAbout& known();
  /// Throws std::runtime_error unless the table is one of ours.
  void check_table(const CollectionAbout& about);
  void keep(const CollectionAbout& after);
  void copy(const ItemSet& items, const std::string& table);
  void put_anew(const ItemSet& items, const CollectionAbout& after);
  void put_in_place(const ItemSet& items, const CollectionAbout& after);
  /// A filter of metadata that finds nothing may be a slip: throws std::invalid_argument then.
  void check_finds(std::span<const CollectionFilter> filters, bool found);
  std::vector<CollectionItem> items_of(const Rows& rows);

  CollectionPlace place_;
  std::string table_, what_;  // the table's name, quoted; of the collection, for errors
  std::unique_ptr<Connection> connection_;
  std::optional<CollectionAbout> about_;
  bool locked_ = false, staging_ = false;
  std::int64_t changed_ = 0;  // rows since the connection began
};

}  // namespace hh::retrieval::postgres
