// SPDX-License-Identifier: Apache-2.0
// A collection of a server of others, as the server shows it. Other programs may change it too: items show
// at once, and what is known of all of them (classes, for one) within a second.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "apps/serve/collection_pool.h"
#include "apps/serve/served.h"

namespace hh::apps {

/// How many items there are, which large collections take seconds to count: kept for a minute.
class ItemCount {
 public:
  /// `count` is asked where the last number is too old; where it throws, that one is given nevertheless.
  std::int64_t get(const std::function<std::int64_t()>& count);
  void forget();

 private:
  std::mutex mutex_;
  std::int64_t items_ = 0, changes_ = 0;
  bool known_ = false, counting_ = false;
  std::optional<std::chrono::steady_clock::time_point> counted_;
};

class CollectionState final : public ServedItems {
 public:
  /// Keeps the references.
  CollectionState(const retrieval::CollectionAbout& about, CollectionPool& pool, ItemCount& count)
      : ServedItems(about), pool_(pool), count_(count) {}

  std::int64_t count() const override;
  std::int64_t rows() const override { return count(); }
  bool keeps_outputs() const override { return false; }
  std::optional<ServedItem> item(std::int64_t id) const override;
  std::vector<float> outputs_of(std::int64_t) const override { return {}; }
  /// Waits for the other server without a turn of `compute`. Of those within a radius at most kMostWithin
  /// are found.
  ServedHits search(std::span<const ApiQuery> queries, const SearchRules& rules,
                    Compute& compute) const override;
  std::int64_t most_together(const SearchRules& rules) const override;
  std::vector<std::optional<ServedItem>> described(
      std::span<const std::int64_t> keys) const override;
  ItemPage list(std::int64_t after, std::int64_t limit,
                const std::vector<std::string>& filters) const override;
  /// Neighbours by id come together: runs of some, from places drawn by `seed`.
  ItemPage random(std::int64_t limit, std::uint64_t seed,
                  const std::vector<std::string>& filters) const override;

  static constexpr std::int64_t kMostWithin = 16'384;

 private:
  CollectionPool& pool_;
  ItemCount& count_;
};

class ServedCollection final : public Served {
 public:
  /// `wait_seconds`: for a connection, and for others that change the collection. Throws
  /// std::invalid_argument where there is no such collection, and what Collection throws.
  ServedCollection(const CollectionPool::Connect& connect, double wait_seconds);

  std::shared_ptr<const ServedItems> state() override;
  void check_there() override;
  std::vector<std::int64_t> add(const retrieval::ItemSet& items, bool new_ids,
                                const std::function<void(const HasItem&)>& check) override;
  bool remove(std::int64_t id) override;

 private:
  void change(const std::function<void(retrieval::Collection&, retrieval::CollectionAbout&)>& work);
  std::shared_ptr<const ServedItems> known(const retrieval::CollectionAbout& about);

  double wait_seconds_;
  CollectionPool pool_;
  ItemCount count_;
  std::mutex mutex_, write_mutex_;
  std::chrono::steady_clock::time_point looked_;
  std::shared_ptr<const ServedItems> state_;
};

}  // namespace hh::apps
