// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/compute.h"

#include <algorithm>
#include <chrono>
#include <utility>

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
    : threads_(std::max(threads, 1)), wait_seconds_(wait_seconds), free_(threads_) {
  if (threads_ > 1) team_ = std::thread([this] { lead_team(); });
}

Compute::~Compute() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (team_.joinable()) team_.join();
}

void Compute::on_one_thread(const std::function<void()>& work) {
  const Turn turn(*this, 1);
  const cpu::ThreadLimit limit(1);
  work();
}

void Compute::on_all_threads(const std::function<void()>& work) {
  if (threads_ == 1) return on_one_thread(work);
  const Turn turn(*this, threads_);
  std::unique_lock lock(mutex_);
  work_ = &work;
  changed_.notify_all();
  changed_.wait(lock, [&] { return work_ == nullptr; });
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Compute::lead_team() {
  const cpu::ThreadLimit limit(threads_);
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return work_ != nullptr || stopping_; });
    if (stopping_) return;
    lock.unlock();
    std::exception_ptr error;
    try {
      (*work_)();
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    error_ = error;
    work_ = nullptr;
    changed_.notify_all();
  }
}

}  // namespace hh::apps
