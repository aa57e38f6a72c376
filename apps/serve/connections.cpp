// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/connections.h"

#include <fmt/format.h>

#include <stdexcept>
#include <system_error>
#include <utility>

namespace hh::apps {
namespace {

constexpr std::size_t kMaxRefused = 256;  // connections that wait to be told so

thread_local Treatment this_threads = Treatment::kServe;

}  // namespace

Treatment treatment() { return this_threads; }

Connections::Connections(int most) : most_(std::size_t(most)) {
  try {
    for (std::size_t i = 0; i < most_; ++i) threads_.emplace_back([this] { work(jobs_, true); });
    threads_.emplace_back([this] {
      this_threads = Treatment::kRefuse;
      work(refused_, false);
    });
  } catch (const std::system_error& error) {
    const std::size_t started = threads_.size();
    shutdown();
    throw std::runtime_error(
        fmt::format("only {} of {} threads for connections could be started ({}); lower "
                    "--max-concurrent",
                    started, most_ + 1, error.what()));
  } catch (...) {
    shutdown();  // the destructor won't run
    throw;
  }
}

Connections::~Connections() { shutdown(); }

void Connections::enqueue(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    if (open_ < most_) {
      ++open_;
      jobs_.push_back(std::move(job));
    } else if (refused_.size() < kMaxRefused) {
      refused_.push_back(std::move(job));
    } else {
      this_threads = Treatment::kDrop;
    }
  }
  changed_.notify_all();
  if (this_threads == Treatment::kDrop) {
    job();  // NOLINT(bugprone-use-after-move): the other branches moved it
    this_threads = Treatment::kServe;
  }
}

void Connections::shutdown() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& t : threads_) t.join();
  threads_.clear();
}

void Connections::work(std::deque<std::function<void()>>& jobs, bool counted) {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return !jobs.empty() || stopping_; });
    if (jobs.empty()) return;
    const auto job = std::move(jobs.front());
    jobs.pop_front();
    lock.unlock();
    job();
    lock.lock();
    if (counted) --open_;
  }
}

}  // namespace hh::apps
