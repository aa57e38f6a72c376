// SPDX-License-Identifier: Apache-2.0
// Connections to the server that keeps a collection, lent to one request each.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "retrieval/engines/collection.h"

namespace hh::apps {

class CollectionPool {
 public:
  using Connect = std::function<std::unique_ptr<retrieval::Collection>()>;

  /// At most so many at once. `wait_seconds`: for one that is free.
  CollectionPool(Connect connect, int most, double wait_seconds);
  CollectionPool(const CollectionPool&) = delete;
  CollectionPool& operator=(const CollectionPool&) = delete;

  /// Runs `work` with a connection. Where that had been idle, and the server has gone or the collection was
  /// changed since, it runs once more with a new one: it must bear that. Throws what `work` throws, but for TryAgain, whose reason is
  /// logged and not for those who ask: ComputeBusy; that too where none is free in time. Another
  /// std::runtime_error becomes an ApiError in the same way.
  void use(const std::function<void(retrieval::Collection&)>& work);

 private:
  class Lent;
  [[noreturn]] void gone(const char* why);
  /// Null where there is none. The mutex is held.
  std::unique_ptr<retrieval::Collection> take_idle();
  /// One that another request gives back, where some have one; null when none comes in time.
  std::unique_ptr<retrieval::Collection> given_back();

  const Connect connect_;
  const double wait_seconds_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int left_;        // that may be lent
  int in_use_ = 0;  // connections that are lent
  std::vector<std::unique_ptr<retrieval::Collection>> idle_;
  std::atomic<bool> told_ = false;  // that the server has gone
};

}  // namespace hh::apps
