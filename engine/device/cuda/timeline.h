// SPDX-License-Identifier: Apache-2.0
// When the work of a stream ran, by CUDA events, and NVTX ranges.
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <vector>

#include "engine/device/profiler.h"

namespace hh {

/// A span is from when the GPU comes to it to when it is done: where the GPU has run out of work,
/// that includes the wait until the host has queued the kernel.
class CudaTimeline final : public DeviceTimeline {
 public:
  CudaTimeline(int gpu, cudaStream_t stream) : gpu_(gpu), stream_(stream) {}
  ~CudaTimeline() override;
  CudaTimeline(const CudaTimeline&) = delete;
  CudaTimeline& operator=(const CudaTimeline&) = delete;

  void start() override;
  void begin_span() override { mark(); }
  void end_span() override { mark(); }
  std::vector<Span> finish() override;
  void push_range(const char* name) override;
  void pop_range() override;

 private:
  /// Records the next event of the pool.
  void mark();

  int gpu_;
  cudaStream_t stream_;              // of that GPU
  Clock::time_point origin_;         // the host's time of the first event
  std::vector<cudaEvent_t> events_;  // kept for the next time; the first is of start()
  std::size_t used_ = 0;
};

}  // namespace hh
