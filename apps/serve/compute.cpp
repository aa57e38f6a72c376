// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/compute.h"

#include <algorithm>
#include <chrono>

#include "kernels/core/parallel.h"

namespace hh::apps {

/// Threads taken for as long as it lives.
class Compute::Turn {
 public:
  Turn(Compute& compute, int threads) : compute_(compute), threads_(threads) {
    std::unique_lock lock(compute.mutex_);
    auto& waiting = compute.waiting_;
    waiting.push_back(this);
    const bool mine = compute.changed_.wait_for(
        lock, std::chrono::duration<double>(compute.wait_seconds_),
        [&] { return waiting.front() == this && compute.free_ >= threads_; });
    waiting.erase(std::find(waiting.begin(), waiting.end(), this));
    if (mine) compute.free_ -= threads_;
    lock.unlock();
    compute.changed_.notify_all();  // whoever is first now
    if (!mine) throw ComputeBusy("too many requests are being computed; try again");
  }
  ~Turn() {
    {
      const std::lock_guard lock(compute_.mutex_);
      compute_.free_ += threads_;
    }
    compute_.changed_.notify_all();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  Compute& compute_;
  int threads_;
};

Compute::Compute(int threads, double wait_seconds)
    : threads_(std::max(threads, 1)), wait_seconds_(wait_seconds), free_(threads_) {}

void Compute::on_one_thread(const std::function<void()>& work) { run(1, work); }
void Compute::on_all_threads(const std::function<void()>& work) { run(threads_, work); }

void Compute::run(int threads, const std::function<void()>& work) {
  const Turn turn(*this, threads);
  const cpu::ThreadLimit limit(threads);
  work();
}

}  // namespace hh::apps
