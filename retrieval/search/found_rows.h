// SPDX-License-Identifier: Apache-2.0
// The nearest rows so far of a search that meets rows in any order, each once.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace hh::retrieval {

/// What a search has found so far, in any order; keys are distance << 48 | row.
class FoundRows {
 public:
  /// Rows at distance <= `bound`; of those the first k by distance and row.
  FoundRows(int bound, int bits, std::int64_t k)
      : k_(k), bound_(bound), counts_(std::size_t(bits) + 2) {}

  int bound() const { return bound_; }
  void add(int distance, std::int64_t row) {
    if (distance > bound_ || key(distance, row) >= worst_) return;
    keys_.push_back(key(distance, row));
    if (distance < bound_) {
      ++counts_[std::size_t(distance)];
      if (++below_ >= k_) {
        do below_ -= counts_[std::size_t(--bound_)];
        while (below_ >= k_);
      }
    }
    if (k_ < kEverything && std::int64_t(keys_.size()) >= 2 * k_ + 1024) {
      std::nth_element(keys_.begin(), keys_.begin() + (k_ - 1), keys_.end());
      keys_.resize(std::size_t(k_));
      worst_ = keys_.back() + 1;
    }
  }
  /// In order of distance and row.
  std::vector<std::uint64_t> sorted() && {
    std::sort(keys_.begin(), keys_.end());
    if (std::int64_t(keys_.size()) > k_) keys_.resize(std::size_t(k_));
    return std::move(keys_);
  }

  static std::uint64_t key(int distance, std::int64_t row) {
    return std::uint64_t(distance) << kRowBits | std::uint64_t(row);
  }
  static std::int32_t distance(std::uint64_t key) { return std::int32_t(key >> kRowBits); }
  static std::int64_t row(std::uint64_t key) {
    return std::int64_t(key & ((std::uint64_t{1} << kRowBits) - 1));
  }

  static constexpr std::int64_t kEverything = std::numeric_limits<std::int64_t>::max();

 private:
  static constexpr int kRowBits = 48;

  std::int64_t k_;
  int bound_;  // k rows are known to be at most this far
  std::int64_t below_ = 0;
  std::uint64_t worst_ = ~std::uint64_t{0};
  std::vector<std::int64_t> counts_;  // exact below bound_
  std::vector<std::uint64_t> keys_;
};

}  // namespace hh::retrieval
