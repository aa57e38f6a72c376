// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#ifndef HH_STD_THREADS
#include <omp.h>
#endif

namespace hh::cpu {
namespace {

int hardware_threads() {
#ifdef HH_STD_THREADS
  return std::max(1, int(std::thread::hardware_concurrency()));
#else
  return std::max(1, omp_get_num_procs());
#endif
}

std::atomic<int> threads{0};  // of the process; 0: not set yet
thread_local bool inside = false;
thread_local int limit = 0;  // of ThreadLimit; 0: none

/// Keeps the first exception of a parallel region, which must not leave an OpenMP body.
class FirstError {
 public:
  void keep() {
    const std::scoped_lock lock(mutex_);
    if (!error_) error_ = std::current_exception();
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr error_;
};

/// Runs work(i) for i in [0, workers), each on its own thread.
template <class Work>
void run_workers(int workers, const Work& work) {
  FirstError error;
  const auto guarded = [&](int i) {
    inside = true;
    try {
      work(i);
    } catch (...) {
      error.keep();
    }
    inside = false;
  };
#ifdef HH_STD_THREADS
  std::vector<std::jthread> others;  // joined also where not all of them can be started
  for (int i = 1; i < workers; ++i) others.emplace_back(guarded, i);
  guarded(0);
  others.clear();
#else
#pragma omp parallel for schedule(static, 1) num_threads(workers)
  for (int i = 0; i < workers; ++i) guarded(i);
#endif
  error.rethrow();
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

void tell_openmp_num_threads() {
#ifndef HH_STD_THREADS
  omp_set_num_threads(num_threads());
#endif
}

void parallel_for(std::int64_t n, std::int64_t grain,
                  FunctionRef<void(std::int64_t, std::int64_t)> body) {
  if (n <= 0) return;
  grain = std::max<std::int64_t>(grain, 1);
  const std::int64_t most = (n + grain - 1) / grain;
  const auto workers = inside ? 1 : std::min<std::int64_t>(num_threads(), most);
  if (workers == 1) return body(0, n);
  run_workers(int(workers), [&](int i) { body(n * i / workers, n * (i + 1) / workers); });
}

void parallel_chunks(std::int64_t chunks, FunctionRef<void(std::int64_t)> body) {
  parallel_for(chunks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) body(c);
  });
}

}  // namespace hh::cpu
