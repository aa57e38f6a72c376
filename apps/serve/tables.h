// SPDX-License-Identifier: Apache-2.0
// Tables of multi-index hashing beside a served index: built by a thread of their own, while the
// scan answers, and built again when the index has outgrown them.
#pragma once
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "retrieval/index/index.h"
#include "retrieval/search/multi_index.h"

namespace hh::apps {

class IndexState;

class ServedTables {
 public:
  /// Makes tables of these codes; null where they aren't worth it. What it throws is logged, and
  /// the codes are scanned.
  using Build = std::function<std::shared_ptr<const retrieval::MultiIndex>(retrieval::CodesView)>;

  /// Builds on one thread, beside the requests; the first ones, by build_first(), on all.
  /// Without `build` there are never any tables.
  explicit ServedTables(Build build);
  /// Waits for a build that runs.
  ~ServedTables();
  ServedTables(const ServedTables&) = delete;
  ServedTables& operator=(const ServedTables&) = delete;

  /// Tables of the first rows of this state, for topk_with_tail(); null: scan. May start a build.
  std::shared_ptr<const retrieval::MultiIndex> of(const std::shared_ptr<const IndexState>& state);
  /// Builds those of this state on all threads and waits for them.
  void build_first(const std::shared_ptr<const IndexState>& state);

 private:
  struct Built {
    std::shared_ptr<const IndexState> state;              // whose codes the tables refer to
    std::shared_ptr<const retrieval::MultiIndex> tables;  // null: not worth it
  };
  bool outgrown(const retrieval::Index& index) const;
  void work();
  std::shared_ptr<const retrieval::MultiIndex> built_of(retrieval::CodesView codes) const;

  const Build build_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<const IndexState> wanted_;  // to be built
  Built built_;
  bool building_ = false, stopping_ = false;
  int threads_ = 1;  // of the build that is wanted
  std::thread thread_;
};

/// For `method` scan: none. multi-index: always. auto: where they are measured to answer in half of
/// the scan's time, and fit into half of the free memory.
ServedTables::Build table_builder(const std::string& method);

}  // namespace hh::apps
