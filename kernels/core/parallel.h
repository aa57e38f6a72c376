// SPDX-License-Identifier: Apache-2.0
// Threads of the CPU kernels. All of them go through here, so that one setting rules them all and
// a sanitizer build can swap the runtime (HH_STD_THREADS: std::thread in place of OpenMP, whose
// runtime ThreadSanitizer can't see into).
#pragma once
#include <cstdint>

#include "kernels/core/function_ref.h"

namespace hh::cpu {

/// Threads that parallel_for uses, whichever thread calls it, and that the GEMM library is told to
/// use. At least 1; no more than the calling thread's ThreadLimit.
int num_threads();

/// Sets them for the whole process; n = 0 means one per hardware thread. Not to be called while
/// kernels run.
void set_num_threads(int n);

/// For whoever calls a library that uses OpenMP itself: its number of threads, which OpenMP keeps
/// for each calling thread, becomes num_threads() for this one.
void tell_openmp_num_threads();

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
/// At most num_threads() ranges of at least `grain` items (but the last); which thread runs which
/// is fixed by n, grain and num_threads() alone. Within another parallel_for it runs inline.
/// An exception of a body is passed on to the caller.
void parallel_for(std::int64_t n, std::int64_t grain,
                  FunctionRef<void(std::int64_t begin, std::int64_t end)> body);

/// Runs body(chunk) for chunk = 0 .. chunks-1. For reductions whose result must not depend on the
/// number of threads: fix the number of chunks by the sizes, reduce each, add them up in order.
void parallel_chunks(std::int64_t chunks, FunctionRef<void(std::int64_t chunk)> body);

}  // namespace hh::cpu
