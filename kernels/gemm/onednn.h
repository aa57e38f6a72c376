// SPDX-License-Identifier: Apache-2.0
// What linear and conv2d share of oneDNN: its engine, its errors as ours, and a store of
// primitives, because making one compiles code (milliseconds). Private to the CPU kernels.
//
// oneDNN computes on the thread that calls it. Work is shared out above it, in pieces that our own
// team of threads takes (kernels/core/team.h): OpenMP's threads, which oneDNN would use, cut the work
// into as many pieces as there are threads and spin for the slowest.
#pragma once
#include <pthread.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>

#include "kernels/core/check.h"
#include "kernels/core/half.h"

// libgomp's; <omp.h> is the compiler's, maybe another's.
extern "C" void omp_set_num_threads(int n);
extern "C" int omp_get_max_threads();

namespace hh::cpu::onednn {

/// While it lives oneDNN computes on the calling thread alone. OpenMP keeps the number for each
/// thread; the program's own loops on this thread have it back afterwards.
class OnThisThread {
 public:
  OnThisThread() : before_(omp_get_max_threads()) {
    if (before_ != 1) omp_set_num_threads(1);
  }
  ~OnThisThread() {
    if (before_ != 1) omp_set_num_threads(before_);
  }
  OnThisThread(const OnThisThread&) = delete;
  OnThisThread& operator=(const OnThisThread&) = delete;

 private:
  int before_;
};

inline const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

/// Of the calling thread, which runs its primitives and returns when done.
inline dnnl::stream& stream() {
  static thread_local dnnl::stream s(engine());
  return s;
}

/// Runs `call`, which makes or runs primitives, on this thread alone and with oneDNN's errors turned
/// into DeviceError.
template <class Call>
auto guarded(const char* op, Call call) {
  const OnThisThread scope;
  try {
    return call();
  } catch (const dnnl::error& e) {
    throw DeviceError(std::string(op) + ": oneDNN: " + e.message);
  }
}

template <class T>
constexpr dnnl::memory::data_type type_of() {
  return std::is_same_v<T, float> ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
}

/// oneDNN's view of an array; it has one type for what it reads and what it writes.
inline dnnl::memory view(const dnnl::memory::desc& desc, const void* data) {
  return {desc, engine(), const_cast<void*>(data)};
}

using Key = std::array<std::int64_t, 10>;

/// Primitives of a kind that are kept: a serving program sees many batch sizes; ~100 KiB each.
inline constexpr std::size_t kMostKept = 512;

/// A mutex that a fork finds free: nothing is being made while the process is copied, so that the
/// child, which has no other thread, can make what it needs.
template <class Made>
std::mutex& making() {
  static std::mutex mutex;
  static const int registered =
      pthread_atfork([] { making<Made>().lock(); }, [] { making<Made>().unlock(); },
                     [] { making<Made>().unlock(); });
  static_cast<void>(registered);
  return mutex;
}

/// The `Made` of this key, made on first use. Safe from several threads.
template <class Made, class Make>
std::shared_ptr<const Made> kept(const Key& key, Make make) {
  static std::map<Key, std::shared_ptr<const Made>> all;
  const std::scoped_lock lock(making<Made>());
  if (const auto it = all.find(key); it != all.end()) return it->second;
  if (all.size() >= kMostKept) all.clear();  // those in use live on through their shared_ptr
  return all[key] = make();
}

}  // namespace hh::cpu::onednn
