// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "kernels/core/team.h"

namespace hh::cpu {
namespace {

// Enough that a thread which is put aside keeps little waiting, and few enough to cost nothing.
constexpr std::int64_t kPartsOfThread = 4;

/// The processors that this process may use.
int hardware_threads() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, int(std::thread::hardware_concurrency()));
}

std::atomic<int> threads{0};  // of the process; 0: not set yet
thread_local int limit = 0;   // of ThreadLimit; 0: none

/// The process's team. After a fork the child has none of the threads, so it gets a new one.
class TheTeam {
 public:
  TheTeam() : team_(new Team) {
    pthread_atfork(nullptr, nullptr, [] { of_process().team_ = new Team; });
  }
  ~TheTeam() { delete team_; }
  TheTeam(const TheTeam&) = delete;
  TheTeam& operator=(const TheTeam&) = delete;

  static TheTeam& of_process() {
    static TheTeam the;
    return the;
  }
  Team& team() { return *team_; }

 private:
  Team* team_;
};

void run(std::int64_t parts, FunctionRef<void(int, std::int64_t)> body) {
  TheTeam::of_process().team().run(parts, num_threads() - 1, body);
}

}  // namespace

int num_threads() {
  if (threads == 0) set_num_threads(0);
  return limit > 0 ? std::min<int>(limit, threads) : threads.load();
}

ThreadLimit::ThreadLimit(int most) : before_(limit) {
  limit = before_ > 0 ? std::min(before_, std::max(most, 1)) : std::max(most, 1);
}
ThreadLimit::~ThreadLimit() { limit = before_; }

void set_num_threads(int n) { threads = n > 0 ? n : hardware_threads(); }

void parallel_for(std::int64_t n, std::int64_t grain,
                  FunctionRef<void(std::int64_t, std::int64_t)> body) {
  if (n <= 0) return;
  const int workers = Team::inside() ? 1 : num_threads();
  if (workers == 1) return body(0, n);
  grain = std::max<std::int64_t>(grain, 1);
  const std::int64_t parts = std::min((n + grain - 1) / grain, kPartsOfThread * workers);
  if (parts == 1) return body(0, n);
  run(parts, [&](int, std::int64_t i) { body(n * i / parts, n * (i + 1) / parts); });
}

void parallel_items(std::int64_t items, FunctionRef<void(int, std::int64_t)> body) {
  if (items <= 0) return;
  if (items > 1 && !Team::inside() && num_threads() > 1) return run(items, body);
  for (std::int64_t i = 0; i < items; ++i) body(0, i);
}

void parallel_chunks(std::int64_t chunks, FunctionRef<void(std::int64_t)> body) {
  parallel_items(chunks, [&](int, std::int64_t chunk) { body(chunk); });
}

}  // namespace hh::cpu
