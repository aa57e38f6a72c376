// SPDX-License-Identifier: Apache-2.0
// A mutex for whole calls of the library, during which the caller's own functions run.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#include "kernels/core/check.h"

namespace hh::api {

/// Taken in the order of asking, so that who gives it up for a moment lets others in. A thread that
/// asks for what it has, from inside a callback, is told so and doesn't wait for ever.
class CallMutex {
 public:
  /// `busy`: what is said then, as "training can't ...".
  explicit CallMutex(const char* busy) : busy_(busy) {}

  /// Throws std::invalid_argument when this thread has it.
  void lock() {
    std::unique_lock guard(mutex_);
    HH_REQUIRE(owner_ != std::this_thread::get_id(), busy_);
    const std::uint64_t ticket = next_++;
    changed_.wait(guard, [&] { return ticket == serving_; });
    owner_ = std::this_thread::get_id();
  }
  void unlock() {
    {
      const std::scoped_lock guard(mutex_);
      owner_ = {};
      ++serving_;
    }
    changed_.notify_all();
  }

 private:
  const char* busy_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t next_ = 0, serving_ = 0;
  std::thread::id owner_;
};

}  // namespace hh::api
