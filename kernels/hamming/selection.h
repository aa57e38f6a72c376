// SPDX-License-Identifier: Apache-2.0
// The k nearest rows so far of one query, while a scan brings rows in ascending order. Distances
// are small integers, so counts by distance tell at once how near a row must be to matter: no heap.
#pragma once
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hh::cpu {

class Selection {
 public:
  /// `memory`: bytes(k, bits), aligned to 8. k >= 1.
  void start(std::int64_t k, int bits, void* memory) {
    counts_ = static_cast<std::int64_t*>(memory);
    std::fill_n(counts_, bits + 1, 0);
    keys_ = reinterpret_cast<std::uint64_t*>(counts_ + bits + 1);
    k_ = k;
    capacity_ = capacity(k);
    size_ = below_ = 0;
    bound_ = bits + 1;
  }
  static std::int64_t capacity(std::int64_t k) { return 2 * k + 64; }
  static std::size_t bytes(std::int64_t k, int bits) {
    return std::size_t(capacity(k) + bits + 1) * 8;
  }

  /// Only rows nearer than this matter: k rows are known to be at most this far, and of equals the
  /// first ones win.
  const int& bound() const { return bound_; }

  /// distance < bound(), row greater than all before.
  void add(int distance, std::int64_t row) {
    keys_[size_++] = std::uint64_t(distance) << kRowBits | std::uint64_t(row);
    ++counts_[distance];
    if (++below_ >= k_) {
      do below_ -= counts_[--bound_];
      while (below_ >= k_);
    }
    if (size_ == capacity_) drop_losers();
  }

  /// In order of rows: all that were added, but for some that can't be among the first k.
  std::span<const std::uint64_t> keys() const { return {keys_, std::size_t(size_)}; }
  static int distance(std::uint64_t key) { return int(key >> kRowBits); }
  static std::int64_t row(std::uint64_t key) {
    return std::int64_t(key & ((std::uint64_t{1} << kRowBits) - 1));
  }

 private:
  static constexpr int kRowBits = 48;

  void drop_losers() {
    std::int64_t kept = 0, equal = k_ - below_;
    for (std::int64_t i = 0; i < size_; ++i) {
      const int d = distance(keys_[i]);
      if (d > bound_ || (d == bound_ && equal-- <= 0)) continue;
      keys_[kept++] = keys_[i];
    }
    assert(kept == k_);
    size_ = kept;
  }

  std::int64_t* counts_ = nullptr;  // rows added at each distance; exact below bound_
  std::uint64_t* keys_ = nullptr;   // distance << 48 | row
  std::int64_t k_ = 1, size_ = 0, capacity_ = 0;
  std::int64_t below_ = 0;  // rows nearer than bound_: fewer than k_
  int bound_ = 0;
};

}  // namespace hh::cpu
