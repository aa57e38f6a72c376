// SPDX-License-Identifier: Apache-2.0
// The rows that pass the filters that were asked for last: finding them in the database takes much
// longer than a search among them.
#pragma once
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "retrieval/codes/row_mask.h"

namespace hh::retrieval {

/// Of one state of an index. Safe from many threads.
class FilterMasks {
 public:
  /// The last one is kept whatever its size.
  explicit FilterMasks(std::int64_t most_bytes = std::int64_t{64} << 20)
      : most_bytes_(most_bytes) {}

  /// Null: unknown.
  std::shared_ptr<const RowMask> find(const std::string& filter);
  void keep(const std::string& filter, std::shared_ptr<const RowMask> mask);

 private:
  static constexpr std::size_t kMost = 64;
  using Entry = std::pair<std::string, std::shared_ptr<const RowMask>>;

  std::int64_t most_bytes_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // the last used first
};

}  // namespace hh::retrieval
