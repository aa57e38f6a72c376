// SPDX-License-Identifier: Apache-2.0
// CUDA keeps a current GPU for each thread, 0 in a new one: launches, events and allocations go to
// that one, whatever stream they name.
#pragma once
#include <cuda_runtime_api.h>

#include <atomic>
#include <cstdint>

#include "kernels/core/cuda_check.h"

namespace hh {

/// Makes GPU `index` the calling thread's current one for its own lifetime. Afterwards the one
/// before is current again if we use it: else going back would make a context on a GPU that nobody
/// asked for, hundreds of megabytes of it.
class UseGpu {
 public:
  explicit UseGpu(int index) : index_(index), before_(enter(index)) {}
  ~UseGpu() { leave(index_, before_); }
  UseGpu(const UseGpu&) = delete;
  UseGpu& operator=(const UseGpu&) = delete;
  int index() const { return index_; }

  /// The two halves; enter() gives what leave() wants to know.
  static int enter(int index) {
    int before = 0;
    HH_CUDA_CHECK(cudaGetDevice(&before));
    if (before != index) HH_CUDA_CHECK(cudaSetDevice(index));
    used_ |= bit(index);
    return before;
  }
  static void leave(int index, int before) noexcept {
    if (before != index && (used_ & bit(before)) != 0) cudaSetDevice(before);
  }

 private:
  static std::uint64_t bit(int index) { return std::uint64_t{1} << (index % 64); }
  static inline std::atomic<std::uint64_t> used_{0};

  int index_, before_;
};

}  // namespace hh
