// SPDX-License-Identifier: Apache-2.0
// From an id to the rows of an index that have it, one of which at most isn't deleted. Ids mostly
// ascend, in a few runs: then the rows are found by halving what is there, and nothing is kept but
// where the runs begin. Ids in any other order are put in order once, in 8 bytes a row.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace hh::retrieval {

/// Of a number of rows; stays as it is.
class RowsById {
 public:
  /// `older`: of the first of these ids, so that only the others are looked at; or null.
  explicit RowsById(std::span<const std::int64_t> ids, const RowsById* older = nullptr);

  /// Rows with this id, ascending. `ids` are those that it was made of.
  std::vector<std::int64_t> find(std::span<const std::int64_t> ids, std::int64_t id) const;

 private:
  void put_in_order(std::span<const std::int64_t> ids, const RowsById* older);

  std::int64_t rows_ = 0;
  /// Rows [0, order_->size()) by id, then by row; null: none.
  std::shared_ptr<const std::vector<std::int64_t>> order_;
  std::vector<std::int64_t> runs_;  // first row of each run of ascending ids behind those
};

/// RowsById that is made when it is first asked for. Safe from many threads.
class LazyRowsById {
 public:
  LazyRowsById() = default;
  /// Of a later state of the same rows.
  explicit LazyRowsById(const LazyRowsById& older) : made_of_older_(older.known()) {}
  LazyRowsById& operator=(const LazyRowsById&) = delete;

  std::shared_ptr<const RowsById> get(std::span<const std::int64_t> ids);

 private:
  std::shared_ptr<const RowsById> known() const;

  mutable std::mutex mutex_;
  std::shared_ptr<const RowsById> made_, made_of_older_;
};

}  // namespace hh::retrieval
