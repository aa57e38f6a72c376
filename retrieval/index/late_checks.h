// SPDX-License-Identifier: Apache-2.0
// What an index leaves for later when it is opened, because it may be large and is seldom needed:
// segments whose check sums are compared when one of their rows is first asked for.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace hh::retrieval {

/// Safe from many threads.
class LateChecks {
 public:
  explicit LateChecks(std::vector<bool> done)
      : done_(std::move(done)), left_(std::size_t(std::count(done_.begin(), done_.end(), false))) {}

  bool all_done() const { return left_.load(std::memory_order_acquire) == 0; }
  bool is_done(std::size_t segment) const {
    const std::scoped_lock lock(mutex_);
    return done_[segment];
  }
  /// Runs check() unless it has run for this segment before. What it throws is passed on, and then
  /// it is run again the next time.
  void ensure(std::size_t segment, const std::function<void()>& check) {
    const std::scoped_lock lock(mutex_);
    if (done_[segment]) return;
    check();
    done_[segment] = true;
    left_.fetch_sub(1, std::memory_order_release);
  }

 private:
  mutable std::mutex mutex_;
  std::vector<bool> done_;
  std::atomic<std::size_t> left_;
};

}  // namespace hh::retrieval
