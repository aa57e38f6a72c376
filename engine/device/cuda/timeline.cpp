// SPDX-License-Identifier: Apache-2.0
#include "engine/device/cuda/timeline.h"

#include <nvtx3/nvToolsExt.h>

#include <cassert>

#include "engine/device/cuda/use_gpu.h"
#include "kernels/core/cuda_check.h"

namespace hh {

CudaTimeline::~CudaTimeline() {
  for (const cudaEvent_t event : events_) cudaEventDestroy(event);
}

void CudaTimeline::mark() {
  const UseGpu current(gpu_);
  if (used_ == events_.size()) {
    cudaEvent_t event = nullptr;
    HH_CUDA_CHECK(cudaEventCreate(&event));
    events_.push_back(event);
  }
  HH_CUDA_CHECK(cudaEventRecord(events_[used_], stream_));
  ++used_;
}

void CudaTimeline::start() {
  HH_CUDA_CHECK(cudaStreamSynchronize(stream_));
  used_ = 0;
  mark();
  HH_CUDA_CHECK(cudaEventSynchronize(events_.front()));
  origin_ = Clock::now();
}

std::vector<DeviceTimeline::Span> CudaTimeline::finish() {
  assert(used_ % 2 == 1);
  HH_CUDA_CHECK(cudaStreamSynchronize(stream_));
  std::vector<Clock::time_point> at{origin_};
  // From event to event: in float, the time since the first would lose its last digits.
  for (std::size_t i = 1; i < used_; ++i) {
    float ms = 0;
    HH_CUDA_CHECK(cudaEventElapsedTime(&ms, events_[i - 1], events_[i]));
    at.push_back(at.back() + std::chrono::nanoseconds(std::int64_t(double(ms) * 1e6)));
  }
  std::vector<Span> spans;
  for (std::size_t i = 1; i + 1 < at.size(); i += 2) spans.push_back({at[i], at[i + 1]});
  used_ = 1;
  return spans;
}

void CudaTimeline::push_range(const char* name) { nvtxRangePushA(name); }
void CudaTimeline::pop_range() { nvtxRangePop(); }

}  // namespace hh
