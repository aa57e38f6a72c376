// SPDX-License-Identifier: Apache-2.0
// The threads of the server's connections: so many that serve, and one that tells the others to
// come back.
#pragma once
#include <httplib.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace hh::apps {

/// How the calling thread treats the connection that it is given.
enum class Treatment { kServe, kRefuse, kDrop };
Treatment treatment();

class Connections final : public httplib::TaskQueue {
 public:
  /// Throws std::runtime_error when the system has no room for so many threads.
  explicit Connections(int most);
  ~Connections() override;

  /// `job` must not throw.
  void enqueue(std::function<void()> job) override;
  void shutdown() override;

 private:
  void work(std::deque<std::function<void()>>& jobs, bool counted);

  std::size_t most_, open_ = 0;
  bool stopping_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_, refused_;
  std::vector<std::thread> threads_;
};

}  // namespace hh::apps
