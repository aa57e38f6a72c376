// SPDX-License-Identifier: Apache-2.0
// A collection: codes, and what is known of their items, kept by a server of others. Each kind of
// server is a library that is loaded when it is asked for (open_collection.h), so this is an interface
// and nothing else.
//
// Items are told apart by their ids. Of one search all distances are exact. Which of the items that are as
// far as the k-th are taken is the server's choice.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "retrieval/codes/codes.h"
#include "retrieval/engines/collection_about.h"
#include "retrieval/index/filter.h"
#include "retrieval/index/index.h"

namespace hh::retrieval {

struct CollectionHit {
  std::int64_t id = 0;
  int distance = 0;
  bool operator==(const CollectionHit&) const = default;
};

struct CollectionItem {
  std::int64_t id = 0;
  PackedCodes code;  // one
  Description description;
};

/// A row of an index.
CollectionItem item_of_row(const Index& index, std::int64_t row);

/// A condition with its classes found: CollectionAbout::filters() makes them.
struct CollectionFilter {
  IndexFilter filter;
  std::vector<int> classes;  // of its labels
};

struct CollectionRequest {
  std::int64_t k = 10;        // that many of the nearest, >= 1
  std::optional<int> radius;  // of them only those at most so far away
  std::vector<CollectionFilter> filters;
  std::vector<std::int64_t> exclude;  // [n queries] an id that is no result, -1: none; or empty
};

/// A connection. For one thread at a time. All functions throw TryAgain (engine/files/file_error.h)
/// where the server can't be reached, or is busy or full; std::invalid_argument for what the caller can
/// mend; else std::runtime_error. Each says the server and the cure in one line, and no secrets.
class Collection {
 public:
  virtual ~Collection() = default;
  Collection(const Collection&) = delete;
  Collection& operator=(const Collection&) = delete;

  /// The server by its name and version, as "PostgreSQL 15.18".
  virtual std::string server() = 0;
  /// Nothing where there is no such collection. Throws std::runtime_error for one that isn't ours.
  virtual std::optional<CollectionAbout> about() = 0;
  /// Makes it, without items. There must be none of that name.
  virtual void create(const CollectionAbout& about) = 0;
  /// Removes it with its items.
  virtual void drop() = 0;

  /// The right to change it, until unlock() or the end of the connection: of the programs that ask, one
  /// has it. Waits so long; then throws TryAgain. Where a server has no locks this does nothing.
  virtual void lock(double wait_seconds) = 0;
  virtual void unlock() = 0;

  // Changes. Each lasts when it returns, and may be repeated after it failed; `after` is kept as what
  // the collection says of itself: together with the change where the server has transactions, else
  // behind it.
  /// Puts items in place of those of their ids. Real-valued outputs aren't kept.
  virtual void put(const ItemSet& items, const CollectionAbout& after) = 0;
  /// Ids that aren't there are passed over. Returns how many there were.
  virtual std::int64_t remove(std::span<const std::int64_t> ids, const CollectionAbout& after) = 0;
  /// After many changes: waits until searches find them all at their usual speed.
  virtual void settle(const CollectionAbout& after) = 0;

  /// Items that pass all filters.
  virtual std::int64_t count(std::span<const CollectionFilter> filters) = 0;
  /// The nearest of each query, by distance, then by id.
  virtual std::vector<std::vector<CollectionHit>> search(CodesView queries,
                                                         const CollectionRequest& request) = 0;
  /// The most of a search's k; 0: no limit.
  virtual std::int64_t max_k() const = 0;

  /// In the order of `ids`; those that aren't there are left out.
  virtual std::vector<CollectionItem> items(std::span<const std::int64_t> ids) = 0;
  /// The first `limit` whose ids are above `after` and that pass, by id.
  virtual std::vector<CollectionItem> list(std::int64_t after, std::int64_t limit,
                                           std::span<const CollectionFilter> filters) = 0;
  /// All items, by id, in pieces of at most kPiece: where the server can, as they are at one moment.
  virtual void pull(const std::function<void(const ItemSet&)>& piece) = 0;
  /// All ids, ascending, in pieces.
  virtual void pull_ids(const std::function<void(std::span<const std::int64_t>)>& piece) = 0;

  /// Items of one put() at most, and of one piece.
  static constexpr std::int64_t kPiece = 50'000;

 protected:
  /// `stopped` is asked now and then, as often as a server's client allows it, while a function waits: when it
  /// says so, that throws TryAgain.
  explicit Collection(std::function<bool()> stopped = nullptr) : stopped_(std::move(stopped)) {}
  bool stopped() const { return stopped_ && stopped_(); }

 private:
  std::function<bool()> stopped_;
};

}  // namespace hh::retrieval
