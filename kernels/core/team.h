// SPDX-License-Identifier: Apache-2.0
// The threads behind parallel_for: one team for the whole process, which lives on between loops.
//
// Parts   A loop is cut into parts beforehand, so that its result doesn't depend on who runs what.
//         Each thread begins with a share of its own, where the loop before left its data in this
//         core's caches, and goes on with what others haven't taken: a thread that is put aside on a
//         busy machine keeps one part waiting, not its whole share.
// Waiting A thread without work looks for it for a short time, then sleeps: spinning for longer takes
//         the processor from the very thread that is waited for. Woken, it is soon run
//         (short_spells.h), where the system can.
// Many    Any number of threads may run loops at once. The team's threads help whoever has parts
//         left, so there are never more of them than one loop could use.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/core/function_ref.h"

namespace hh::cpu {

class Team {
 public:
  Team() = default;
  /// Stops and joins the threads. Loops that run at the same time end with the parts they have.
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  /// Runs body(worker, part) for part = 0 .. parts-1, each once, on the calling thread and up to
  /// `helpers` threads of the team; returns when all are done. worker <= helpers, and no two parts
  /// with the same worker run at once. The first exception of a body is passed on, after the other
  /// parts have run.
  void run(std::int64_t parts, int helpers, FunctionRef<void(int worker, std::int64_t part)> body);

  /// Does the calling thread run a part of some team's loop?
  static bool inside();

 private:
  struct Job;
  void start_threads(int wanted);
  void serve();
  Job* join_a_job(int& worker);
  void work(Job& job, int worker);

  std::mutex mutex_;     // of `open_`, `threads_` and the jobs' numbers of helpers
  Job* open_ = nullptr;  // jobs that helpers may join, in a list
  std::vector<std::thread> threads_;
  std::atomic<bool> stopping_{false};
  // Counters that are waited on: of jobs that were opened, and of helpers that left one.
  alignas(64) std::atomic<std::uint32_t> opened_{0};
  alignas(64) std::atomic<std::uint32_t> left_{0};
};

}  // namespace hh::cpu
