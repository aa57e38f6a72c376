// SPDX-License-Identifier: Apache-2.0
// The index that the server shows: the newest state for all threads to search, and one writer at a
// time. Other processes may write too; their changes show at the next request.
#pragma once
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "apps/serve/served.h"
#include "apps/serve/tables.h"
#include "retrieval/index/index.h"
#include "retrieval/search/index_search.h"

namespace hh::apps {

/// A state of the index, ready to be searched. Stays as it is, however the index changes. Keys are rows.
class IndexState final : public ServedItems, public std::enable_shared_from_this<IndexState> {
 public:
  /// `tables`: kept; null: codes are scanned.
  explicit IndexState(retrieval::Index opened, ServedTables* tables = nullptr);

  std::int64_t count() const override { return index.count(); }
  std::int64_t rows() const override { return index.rows(); }
  bool keeps_outputs() const override { return index.manifest().outputs; }
  std::optional<ServedItem> item(std::int64_t id) const override;
  std::vector<float> outputs_of(std::int64_t id) const override;
  ServedHits search(std::span<const ApiQuery> queries, const SearchRules& rules,
                    Compute& compute) const override;
  std::int64_t most_together(const SearchRules& rules) const override;
  std::vector<std::optional<ServedItem>> described(
      std::span<const std::int64_t> keys) const override;
  ItemPage list(std::int64_t after, std::int64_t limit,
                const std::vector<std::string>& filters) const override;
  ItemPage random(std::int64_t limit, std::uint64_t seed,
                  const std::vector<std::string>& filters) const override;

  const retrieval::Index index;

 private:
  retrieval::IndexSearch search_;
  ServedTables* tables_;
};

class ServedIndex final : public Served {
 public:
  /// `method`: as for table_builder(). Throws what Index::open() throws.
  ServedIndex(const std::filesystem::path& folder, double wait_seconds,
              const std::string& method = "scan");

  std::shared_ptr<const ServedItems> state() override { return newest(); }
  void check_there() override;
  /// Throws what IndexWriter throws.
  std::vector<std::int64_t> add(const retrieval::ItemSet& items, bool new_ids,
                                const std::function<void(const HasItem&)>& check) override;
  bool remove(std::int64_t id) override;

 private:
  /// By which a replaced manifest shows.
  struct Stamp {
    std::uint64_t inode = 0, size = 0;
    std::int64_t seconds = 0, nanoseconds = 0;
    bool operator==(const Stamp&) const = default;
  };
  Stamp stamp() const;
  std::shared_ptr<const IndexState> newest();
  template <class Change>
  auto change(const Change& change);

  std::filesystem::path folder_;
  double wait_seconds_;
  std::mutex mutex_, write_mutex_;
  Stamp stamp_;
  ServedTables tables_;
  std::shared_ptr<const IndexState> state_;
};

}  // namespace hh::apps
