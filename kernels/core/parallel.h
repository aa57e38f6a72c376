// SPDX-License-Identifier: Apache-2.0
// Threads of the CPU kernels. All of them go through here, so that one setting rules them all.
// They are a team of the process's own (core/team.h); libraries that are called from a loop compute
// on the thread that calls them.
#pragma once
#include <cstdint>

#include "kernels/core/function_ref.h"

namespace hh::cpu {

/// Threads that parallel_for uses, whichever thread calls it. At least 1; no more than the calling
/// thread's ThreadLimit.
int num_threads();

/// Sets them for the whole process; n = 0 means one per hardware thread. Not to be called while
/// kernels run.
void set_num_threads(int n);

/// While it lives, parallel_for of the thread that made it uses at most `most` threads: for
/// programs whose own threads share the machine.
class ThreadLimit {
 public:
  explicit ThreadLimit(int most);  // >= 1
  ~ThreadLimit();
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;

 private:
  int before_;
};

/// Runs body(begin, end) on ranges that cover [0, n) exactly once; returns when all are done.
/// The ranges are fixed by n, grain and num_threads() alone: a few for each thread, of at least
/// `grain` items (but the last). Threads take them as they come. Within another loop it runs
/// inline, as one range. The first exception of a body is passed on to the caller, after the other
/// ranges have run.
void parallel_for(std::int64_t n, std::int64_t grain,
                  FunctionRef<void(std::int64_t begin, std::int64_t end)> body);

/// Runs body(chunk) for chunk = 0 .. chunks-1. For reductions whose result must not depend on the
/// number of threads: fix the number of chunks by the sizes, reduce each, add them up in order.
void parallel_chunks(std::int64_t chunks, FunctionRef<void(std::int64_t chunk)> body);

/// The same for bodies with scratch: worker < num_threads(), and no two items with the same worker
/// run at once. Which worker gets an item differs from run to run.
void parallel_items(std::int64_t items, FunctionRef<void(int worker, std::int64_t item)> body);

}  // namespace hh::cpu
