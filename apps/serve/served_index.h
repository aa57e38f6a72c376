// SPDX-License-Identifier: Apache-2.0
// The index that the server shows: the newest state for all threads to search, and one writer at a
// time. Other processes may write too; their changes show at the next request.
#pragma once
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "apps/serve/tables.h"
#include "retrieval/index/index.h"
#include "retrieval/search/index_search.h"

namespace hh::apps {

/// A state of the index, ready to be searched. Stays as it is, however the index changes.
struct IndexState {
  explicit IndexState(retrieval::Index opened) : index(std::move(opened)), search(index) {}
  retrieval::Index index;
  retrieval::IndexSearch search;
};

class ServedIndex {
 public:
  /// `method`: as for table_builder(). Throws what Index::open() throws.
  ServedIndex(const std::filesystem::path& folder, double wait_seconds,
              const std::string& method = "scan");

  std::shared_ptr<const IndexState> state();
  /// Of that state's first rows; null: scan.
  std::shared_ptr<const retrieval::MultiIndex> tables(
      const std::shared_ptr<const IndexState>& state) {
    return tables_.of(state);
  }

  /// Appends items, all or none, with new ids or by their own, those of which that are there are
  /// replaced unless `check` throws: it sees the index that is changed. Returns their ids. Lasts when
  /// this returns. Throws what IndexWriter throws.
  std::vector<std::int64_t> add(const retrieval::ItemSet& items, bool new_ids,
                                const std::function<void(const retrieval::Index&)>& check);
  /// Whether there was such an item.
  bool remove(std::int64_t id);

 private:
  /// By which a replaced manifest shows.
  struct Stamp {
    std::uint64_t inode = 0, size = 0;
    std::int64_t seconds = 0, nanoseconds = 0;
    bool operator==(const Stamp&) const = default;
  };
  Stamp stamp() const;
  template <class Change>
  auto change(const Change& change);

  std::filesystem::path folder_;
  double wait_seconds_;
  std::mutex mutex_, write_mutex_;
  Stamp stamp_;
  std::shared_ptr<const IndexState> state_;
  ServedTables tables_;
};

}  // namespace hh::apps
