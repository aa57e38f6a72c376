// SPDX-License-Identifier: Apache-2.0
// The processor, shared out among requests: however many run at once, what they compute keeps at
// most so many threads busy. Work that gains by threads gets all of them and runs alone; other work
// gets one. Turns are taken in the order of asking, so neither kind waits for ever.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <stdexcept>

namespace hh::apps {

/// The wait for a turn took too long.
struct ComputeBusy : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Compute {
 public:
  /// `wait_seconds`: for a turn.
  Compute(int threads, double wait_seconds);
  Compute(const Compute&) = delete;
  Compute& operator=(const Compute&) = delete;

  /// Runs `work` on the calling thread, whose loops get no others. Throws what `work` throws, and
  /// ComputeBusy.
  void on_one_thread(const std::function<void()>& work);
  /// Runs `work` while no other work does, with all threads for its loops.
  void on_all_threads(const std::function<void()>& work);

  int threads() const { return threads_; }

 private:
  class Turn;
  void run(int threads, const std::function<void()>& work);

  const int threads_;
  const double wait_seconds_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int free_;
  std::deque<const Turn*> waiting_;  // in order of asking
};

}  // namespace hh::apps
