// SPDX-License-Identifier: Apache-2.0
// A server of collections in this process: what a push, a pull or `serve` does with one, without any
// network, and with failures where a test wants them.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "retrieval/engines/collection.h"

namespace hh::testing {

/// Where a change that fails breaks off: before it; with half of the items put; with all of them, but not what
/// the collection says of itself; behind it, so that only the answer is lost.
enum class Break { kBefore, kHalf, kItems, kBehind };

/// What lasts while connections come and go. One collection.
struct MemoryServer {
  std::mutex mutex;
  std::optional<retrieval::CollectionAbout> about;
  std::map<std::int64_t, retrieval::CollectionItem> items;
  bool locked = false;
  int calls = 0, settled = 0, connections = 0;
  int most_connections = 1 << 20;
  int fails_at =
      0;  // the call of this number throws TryAgain, and all later ones of its connection; 0: none
  Break breaks = Break::kBefore;
};

class MemoryCollection final : public retrieval::Collection {
 public:
  explicit MemoryCollection(std::shared_ptr<MemoryServer> server);
  ~MemoryCollection() override;

  std::string server() override { return "memory"; }
  std::optional<retrieval::CollectionAbout> about() override;
  void create(const retrieval::CollectionAbout& about) override;
  void drop() override;
  void lock(double wait_seconds) override;
  void unlock() override;
  void put(const retrieval::ItemSet& items, const retrieval::CollectionAbout& after) override;
  std::int64_t remove(std::span<const std::int64_t> ids,
                      const retrieval::CollectionAbout& after) override;
  void settle(const retrieval::CollectionAbout& after) override;
  std::int64_t count(std::span<const retrieval::CollectionFilter> filters) override;
  std::vector<std::vector<retrieval::CollectionHit>> search(
      retrieval::CodesView queries, const retrieval::CollectionRequest& request) override;
  std::int64_t max_k() const override { return 0; }
  std::vector<retrieval::CollectionItem> items(std::span<const std::int64_t> ids) override;
  std::vector<retrieval::CollectionItem> list(
      std::int64_t after, std::int64_t limit,
      std::span<const retrieval::CollectionFilter> filters) override;
  void pull(const std::function<void(const retrieval::ItemSet&)>& piece) override;
  void pull_ids(const std::function<void(std::span<const std::int64_t>)>& piece) override;

 private:
  /// Each call begins with it.
  std::unique_lock<std::mutex> begin();
  /// The same for calls that change: first so many items, then what the collection says of itself.
  void change(std::int64_t count, const std::function<void(std::int64_t)>& items,
              const std::function<void()>& says);

  std::shared_ptr<MemoryServer> server_;
  bool broken_ = false, locks_ = false;
  std::optional<retrieval::CollectionAbout> known_;  // as of the last look
};

}  // namespace hh::testing
