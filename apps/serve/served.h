// SPDX-License-Identifier: Apache-2.0
// What the server shows: an index of its own (served_index.h), or a collection that a server of others
// keeps (served_collection.h). Items are told apart by their ids.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/serve/compute.h"
#include "retrieval/codes/codes.h"
#include "retrieval/engines/collection.h"

namespace hh::apps {

using ServedItem = retrieval::CollectionItem;

/// What is searched for.
struct ApiQuery {
  retrieval::PackedCodes code;     // one
  std::vector<float> outputs;      // of the network; may be empty
  std::optional<ServedItem> item;  // where it is one, which is left out then
  std::vector<int> labels;         // for precision
};

/// How.
struct SearchRules {
  std::int64_t k = 20;
  std::optional<int> radius;  // all within it, of which the k nearest are described
  std::int64_t rerank = 0;    // so many of the nearest are put in order of the outputs
  std::vector<std::string> filters;
};

struct FoundItem {
  std::int64_t key = 0;  // what ServedItems::described() takes
  float distance = 0;    // Hamming distance, a whole number, unless ServedHits::real
};
struct ServedHits {
  std::vector<std::vector<FoundItem>> of;  // each query
  bool real = false;                       // distances are of the outputs
  std::string method;
};

struct ItemPage {
  std::vector<ServedItem> items;
  std::int64_t count = 0;  // of all that pass the filters
  bool more = false;       // behind the last of these
};

/// All of it at one moment, as far as that can be had. Safe from many threads. Functions that take filters
/// throw std::invalid_argument for those that can't be read.
class ServedItems {
 public:
  explicit ServedItems(retrieval::CollectionAbout about) : about_(std::move(about)) {}
  virtual ~ServedItems() = default;
  ServedItems(const ServedItems&) = delete;
  ServedItems& operator=(const ServedItems&) = delete;

  /// Bits, model, classes: without how far a push has come.
  const retrieval::CollectionAbout& about() const { return about_; }
  virtual std::int64_t count() const = 0;
  virtual std::int64_t rows() const = 0;  // deleted ones too
  virtual bool keeps_outputs() const = 0;

  virtual std::optional<ServedItem> item(std::int64_t id) const = 0;
  /// [bits] of the network; empty where they aren't kept.
  virtual std::vector<float> outputs_of(std::int64_t id) const = 0;
  /// On its share of `compute`. Throws what IndexSearch, Collection and Compute throw.
  virtual ServedHits search(std::span<const ApiQuery> queries, const SearchRules& rules,
                            Compute& compute) const = 0;
  /// Queries of one search() at most.
  virtual std::int64_t most_together(const SearchRules& rules) const = 0;
  /// The item of each key; nothing where it has gone.
  virtual std::vector<std::optional<ServedItem>> described(
      std::span<const std::int64_t> keys) const = 0;
  /// The first `limit` above an id, by id.
  virtual ItemPage list(std::int64_t after, std::int64_t limit,
                        const std::vector<std::string>& filters) const = 0;
  /// Drawn by `seed`.
  virtual ItemPage random(std::int64_t limit, std::uint64_t seed,
                          const std::vector<std::string>& filters) const = 0;

 private:
  retrieval::CollectionAbout about_;
};

/// Whether there is an item of that id.
using HasItem = std::function<bool(std::int64_t id)>;

class Served {
 public:
  virtual ~Served() = default;

  virtual std::shared_ptr<const ServedItems> state() = 0;
  /// Throws where it isn't there any more.
  virtual void check_there() = 0;
  /// Appends items, all or none, with new ids or by their own, those of which that are there are
  /// replaced unless `check` throws, which is asked of the state that is changed. Returns their ids. Lasts when
  /// this returns.
  virtual std::vector<std::int64_t> add(const retrieval::ItemSet& items, bool new_ids,
                                        const std::function<void(const HasItem&)>& check) = 0;
  /// Whether there was such an item.
  virtual bool remove(std::int64_t id) = 0;
};

}  // namespace hh::apps
