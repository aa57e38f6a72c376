// SPDX-License-Identifier: Apache-2.0
#include "retrieval/index/rows_by_id.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace hh::retrieval {
namespace {
constexpr std::size_t kMaxRuns = 32;
}  // namespace

RowsById::RowsById(std::span<const std::int64_t> ids, const RowsById* older)
    : rows_(std::int64_t(ids.size())) {
  std::int64_t row = 0;
  if (older != nullptr) {
    row = older->rows_;
    order_ = older->order_;
    runs_ = older->runs_;
  }
  for (; row < rows_; ++row) {
    const bool goes_on = !runs_.empty() && ids[std::size_t(row)] > ids[std::size_t(row) - 1];
    if (goes_on) continue;
    if (runs_.size() == kMaxRuns) {
      put_in_order(ids, older);
      break;
    }
    runs_.push_back(row);
  }
}

void RowsById::put_in_order(std::span<const std::int64_t> ids, const RowsById* older) {
  std::vector<std::int64_t> order;
  if (older != nullptr && older->order_) order = *older->order_;
  const auto sorted = std::ptrdiff_t(order.size());
  order.resize(ids.size());
  std::iota(order.begin() + sorted, order.end(), sorted);
  const auto before = [&](std::int64_t a, std::int64_t b) {
    return std::pair(ids[std::size_t(a)], a) < std::pair(ids[std::size_t(b)], b);
  };
  std::sort(order.begin() + sorted, order.end(), before);
  std::inplace_merge(order.begin(), order.begin() + sorted, order.end(), before);
  order_ = std::make_shared<const std::vector<std::int64_t>>(std::move(order));
  runs_.clear();
}

std::vector<std::int64_t> RowsById::find(std::span<const std::int64_t> ids, std::int64_t id) const {
  std::vector<std::int64_t> rows;
  if (order_) {
    auto at = std::lower_bound(
        order_->begin(), order_->end(), id,
        [&](std::int64_t row, std::int64_t value) { return ids[std::size_t(row)] < value; });
    for (; at != order_->end() && ids[std::size_t(*at)] == id; ++at) rows.push_back(*at);
  }
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    const auto begin = ids.begin() + runs_[i];
    const auto end = ids.begin() + (i + 1 < runs_.size() ? runs_[i + 1] : rows_);
    const auto found = std::lower_bound(begin, end, id);
    if (found != end && *found == id) rows.push_back(found - ids.begin());
  }
  return rows;
}

std::shared_ptr<const RowsById> LazyRowsById::get(std::span<const std::int64_t> ids) {
  const std::lock_guard lock(mutex_);
  if (!made_) {
    made_ = std::make_shared<const RowsById>(ids, made_of_older_.get());
    made_of_older_.reset();
  }
  return made_;
}

std::shared_ptr<const RowsById> LazyRowsById::known() const {
  const std::lock_guard lock(mutex_);
  return made_ ? made_ : made_of_older_;
}

}  // namespace hh::retrieval
