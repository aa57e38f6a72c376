// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/collection_pool.h"

#include <chrono>
#include <utility>

#include "apps/serve/answer.h"
#include "apps/serve/compute.h"
#include "engine/files/file_error.h"
#include "engine/text/log.h"

namespace hh::apps {

using retrieval::Collection;

/// Back to the idle ones when the request is done with it, unless it was dropped.
class CollectionPool::Lent {
 public:
  explicit Lent(CollectionPool& pool) : pool_(pool) {
    std::unique_lock lock(pool.mutex_);
    const auto wait = std::chrono::duration<double>(pool.wait_seconds_);
    if (!pool.changed_.wait_for(lock, wait, [&] { return pool.left_ > 0; })) {
      throw ComputeBusy("too many searches wait for the server that keeps the codes; try again");
    }
    --pool.left_;
    connection_ = pool.take_idle();
  }
  ~Lent() {
    {
      const std::lock_guard lock(pool_.mutex_);
      if (connection_) {
        pool_.idle_.push_back(std::move(connection_));
        --pool_.in_use_;
      }
      ++pool_.left_;
    }
    pool_.changed_.notify_all();
  }
  Lent(const Lent&) = delete;
  Lent& operator=(const Lent&) = delete;

  bool was_idle() const { return connection_ != nullptr; }
  Collection& connection() {
    if (connection_) return *connection_;
    try {
      auto made = pool_.connect_();
      const std::lock_guard lock(pool_.mutex_);
      connection_ = std::move(made);
      ++pool_.in_use_;
    } catch (const TryAgain&) {
      // A server may take fewer connections than we would.
      connection_ = pool_.given_back();
      if (!connection_) throw;
    }
    return *connection_;
  }
  void drop() {
    if (!connection_) return;
    connection_.reset();
    const std::lock_guard lock(pool_.mutex_);
    --pool_.in_use_;
    pool_.changed_.notify_all();
  }

 private:
  CollectionPool& pool_;
  std::unique_ptr<Collection> connection_;
};

CollectionPool::CollectionPool(Connect connect, int most, double wait_seconds)
    : connect_(std::move(connect)), wait_seconds_(wait_seconds), left_(most) {}

std::unique_ptr<Collection> CollectionPool::take_idle() {
  if (idle_.empty()) return nullptr;
  auto connection = std::move(idle_.back());
  idle_.pop_back();
  ++in_use_;
  return connection;
}

std::unique_ptr<Collection> CollectionPool::given_back() {
  std::unique_lock lock(mutex_);
  const auto wait = std::chrono::duration<double>(wait_seconds_);
  changed_.wait_for(lock, wait, [&] { return !idle_.empty() || in_use_ == 0; });
  return take_idle();
}

void CollectionPool::gone(const char* why) {
  if (!told_.exchange(true)) log(LogLevel::kWarning, why);
  throw ComputeBusy("the server that keeps the codes doesn't answer; try again");
}

void CollectionPool::use(const std::function<void(Collection&)>& work) {
  Lent lent(*this);
  bool again = lent.was_idle();
  for (;;) {
    try {
      work(lent.connection());
      told_ = false;
      return;
    } catch (const TryAgain& error) {
      lent.drop();
      if (!std::exchange(again, false)) gone(error.what());
    } catch (const std::invalid_argument&) {
      throw;  // of the request: the connection is good
    } catch (const ComputeBusy&) {
      lent.drop();  // it may have gone in the middle of a change, with the right to it
      throw;
    } catch (const std::runtime_error& error) {
      // What it knew of the collection, classes for one, may be what others have changed since.
      lent.drop();
      if (std::exchange(again, false)) continue;
      log(LogLevel::kError, error.what());
      throw ApiError{500, "the server that keeps the codes can't be used; the log says why"};
    } catch (...) {
      lent.drop();
      throw;
    }
  }
}

}  // namespace hh::apps
