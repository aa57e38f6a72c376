// SPDX-License-Identifier: Apache-2.0
// Tables of multi-index hashing beside a served index: built by a thread of their own, while the
// scan answers, and built again when the index has outgrown them.
#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "retrieval/index/index.h"
#include "retrieval/search/multi_index.h"

namespace hh::apps {

struct IndexState;

class ServedTables {
 public:
  /// `method`: scan: never any. multi-index: always. auto: where they are measured to answer in
  /// half of the scan's time, and fit into half of the free memory.
  explicit ServedTables(const std::string& method);
  /// Waits for a build that runs.
  ~ServedTables();
  ServedTables(const ServedTables&) = delete;
  ServedTables& operator=(const ServedTables&) = delete;

  /// Tables of the first rows of this state, for topk_with_tail(); null: scan. May start a build.
  std::shared_ptr<const retrieval::MultiIndex> of(const std::shared_ptr<const IndexState>& state);
  /// Waits until what of() started is built.
  void wait();

 private:
  struct Built {
    std::shared_ptr<const IndexState> state;              // whose codes the tables refer to
    std::shared_ptr<const retrieval::MultiIndex> tables;  // null: not worth it
  };
  bool outgrown(const retrieval::Index& index) const;
  void work();

  std::string method_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<const IndexState> wanted_;  // to be built
  Built built_;
  bool building_ = false, stopping_ = false;
  std::thread thread_;
};

}  // namespace hh::apps
