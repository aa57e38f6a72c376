// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/team.h"

#include <signal.h>

#include <algorithm>
#include <system_error>

#include "kernels/core/short_spells.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace hh::cpu {
namespace {

// Looks at a counter before a thread sleeps: some 50 us where a pause takes 140 cycles, 20 us where
// it takes 65. A step's loops follow each other within a few; waking up takes about as long.
constexpr int kLooks = 1000;
constexpr int kMostShares = 64;

thread_local bool is_inside = false;

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

/// Returns when `counter` isn't `seen` any more.
void wait_for_change(const std::atomic<std::uint32_t>& counter, std::uint32_t seen) {
  for (int i = 0; i < kLooks; ++i) {
    if (counter.load(std::memory_order_acquire) != seen) return;
    pause();
  }
  counter.wait(seen, std::memory_order_acquire);
}

/// While it lives, threads that are started leave signals of the process to the others.
class WithoutSignals {
 public:
  WithoutSignals() {
    sigset_t mask;
    sigfillset(&mask);
    // Those of a thread's own faults, and of a profiler's clock.
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGPROF}) {
      sigdelset(&mask, own);
    }
    pthread_sigmask(SIG_BLOCK, &mask, &before_);
  }
  ~WithoutSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  WithoutSignals(const WithoutSignals&) = delete;
  WithoutSignals& operator=(const WithoutSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

/// A loop. It lives on its caller's stack, until no helper is in it.
struct Team::Job {
  Job(std::int64_t parts, int most, FunctionRef<void(int, std::int64_t)> b)
      : body(b), most_helpers(most), shares(std::min(most + 1, kMostShares)) {
    for (int s = 0; s < shares; ++s) {
      share[s].next = parts * s / shares;
      share[s].end = parts * (s + 1) / shares;
    }
  }
  /// A part that nobody has taken, of this share; or -1.
  std::int64_t take(int s) {
    const std::atomic_ref next(share[s].next);
    if (next.load(std::memory_order_relaxed) >= share[s].end) return -1;
    const std::int64_t part = next.fetch_add(1, std::memory_order_relaxed);
    return part < share[s].end ? part : -1;
  }
  bool has_parts() {
    return std::any_of(share, share + shares, [](Share& s) {
      return std::atomic_ref(s.next).load(std::memory_order_relaxed) < s.end;
    });
  }
  void keep_error() {
    if (!failed.exchange(true)) error = std::current_exception();
  }

  struct alignas(64) Share {
    std::int64_t next, end;  // the former is shared; plain, so that only those in use are written
  };

  FunctionRef<void(int, std::int64_t)> body;
  int most_helpers, helpers = 0;  // the latter only grows
  std::atomic<int> active{0};     // helpers that are in it
  std::atomic<bool> failed{false};
  std::exception_ptr error;
  Job* next_open = nullptr;
  int shares;
  Share share[kMostShares];
};

bool Team::inside() { return is_inside; }

Team::~Team() {
  stopping_ = true;
  opened_.fetch_add(1);
  opened_.notify_all();
  for (std::thread& thread : threads_) {
    // The end of the process may come from one of them.
    thread.get_id() == std::this_thread::get_id() ? thread.detach() : thread.join();
  }
}

void Team::start_threads(int wanted) {
  if (int(threads_.size()) >= wanted || stopping_) return;
  const WithoutSignals signals;
  try {
    threads_.reserve(std::size_t(wanted));
    while (int(threads_.size()) < wanted) {
      threads_.emplace_back([this] { serve(); });
    }
  } catch (const std::system_error&) {
    // No more threads can be had; those there are do it all.
  }
}

void Team::work(Job& job, int worker) {
  for (int i = 0; i < job.shares; ++i) {
    const int s = (worker + i) % job.shares;
    for (std::int64_t part = job.take(s); part >= 0; part = job.take(s)) {
      try {
        job.body(worker, part);
      } catch (...) {
        job.keep_error();
      }
    }
  }
}

Team::Job* Team::join_a_job(int& worker) {
  const std::scoped_lock lock(mutex_);
  for (Job* job = open_; job != nullptr; job = job->next_open) {
    if (job->helpers == job->most_helpers || !job->has_parts()) continue;
    worker = ++job->helpers;
    job->active.fetch_add(1, std::memory_order_relaxed);
    return job;
  }
  return nullptr;
}

void Team::serve() {
  is_inside = true;
  ask_for_short_spells();
  for (std::uint32_t seen = 0;;) {
    const std::uint32_t now = opened_.load(std::memory_order_acquire);
    if (now == seen) {
      wait_for_change(opened_, seen);
      continue;
    }
    seen = now;
    if (stopping_) return;
    int worker = 0;
    while (Job* const job = join_a_job(worker)) {
      work(*job, worker);
      job->active.fetch_sub(1, std::memory_order_release);  // the job may be gone from here on
      left_.fetch_add(1, std::memory_order_release);
      left_.notify_all();
    }
  }
}

void Team::run(std::int64_t parts, int helpers, FunctionRef<void(int, std::int64_t)> body) {
  helpers = int(std::clamp<std::int64_t>(parts - 1, 0, helpers));
  Job job(parts, helpers, body);
  if (helpers > 0) {
    {
      const std::scoped_lock lock(mutex_);
      start_threads(helpers);
      job.next_open = open_;
      open_ = &job;
    }
    opened_.fetch_add(1, std::memory_order_release);
    for (int i = 0; i < helpers; ++i) opened_.notify_one();
  }
  const bool outer = is_inside;
  is_inside = true;
  work(job, 0);
  is_inside = outer;
  if (helpers > 0) {
    {
      const std::scoped_lock lock(mutex_);
      Job** at = &open_;
      while (*at != &job) at = &(*at)->next_open;
      *at = job.next_open;
    }
    for (;;) {
      const std::uint32_t left = left_.load(std::memory_order_acquire);
      if (job.active.load(std::memory_order_acquire) == 0) break;
      wait_for_change(left_, left);
    }
  }
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace hh::cpu
