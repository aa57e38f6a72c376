// SPDX-License-Identifier: Apache-2.0
#include "engine/device/cuda/transfers.h"

#include <algorithm>
#include <cstring>

#include "kernels/core/cuda_check.h"

namespace hh {

Uploads::Uploads(cudaStream_t stream) : stream_(stream) {
  HH_CUDA_CHECK(cudaStreamCreateWithFlags(&copies_, cudaStreamNonBlocking));
  for (Slot& slot : slots_) {
    HH_CUDA_CHECK(cudaMallocHost(&slot.host, kBytes));
    HH_CUDA_CHECK(cudaMalloc(&slot.device, kBytes));
    HH_CUDA_CHECK(cudaEventCreateWithFlags(&slot.arrived, cudaEventDisableTiming));
    HH_CUDA_CHECK(cudaEventCreateWithFlags(&slot.taken, cudaEventDisableTiming));
  }
}

Uploads::~Uploads() {
  cudaStreamSynchronize(copies_);
  for (const Slot& slot : slots_) {
    cudaEventDestroy(slot.taken);
    cudaEventDestroy(slot.arrived);
    cudaFree(slot.device);
    cudaFreeHost(slot.host);
  }
  cudaStreamDestroy(copies_);
}

void Uploads::copy(void* to, const void* from, std::size_t bytes) {
  for (std::size_t done = 0; done < bytes; done += kBytes) {
    const std::size_t part = std::min(kBytes, bytes - done);
    const Slot& slot = slots_[next_++ % kSlots];
    HH_CUDA_CHECK(cudaEventSynchronize(slot.taken));
    std::memcpy(slot.host, static_cast<const char*>(from) + done, part);
    HH_CUDA_CHECK(cudaMemcpyAsync(slot.device, slot.host, part, cudaMemcpyHostToDevice, copies_));
    HH_CUDA_CHECK(cudaEventRecord(slot.arrived, copies_));
    HH_CUDA_CHECK(cudaStreamWaitEvent(stream_, slot.arrived, 0));
    HH_CUDA_CHECK(cudaMemcpyAsync(static_cast<char*>(to) + done, slot.device, part,
                                  cudaMemcpyDeviceToDevice, stream_));
    HH_CUDA_CHECK(cudaEventRecord(slot.taken, stream_));
  }
}

class CudaPendingFloat final : public PendingFloat {
 public:
  CudaPendingFloat(Readbacks& owner, Readbacks::Slot slot) : owner_(owner), slot_(slot) {}
  ~CudaPendingFloat() override {
    cudaEventSynchronize(slot_.arrived);  // the copy may still be on its way
    owner_.free_.push_back(slot_);
  }
  CudaPendingFloat(const CudaPendingFloat&) = delete;
  CudaPendingFloat& operator=(const CudaPendingFloat&) = delete;
  float wait() override {
    HH_CUDA_CHECK(cudaEventSynchronize(slot_.arrived));
    return *static_cast<const float*>(slot_.host);
  }

 private:
  Readbacks& owner_;
  Readbacks::Slot slot_;
};

Readbacks::~Readbacks() {
  for (const Slot& slot : free_) {
    cudaEventDestroy(slot.arrived);
    cudaFreeHost(slot.host);
  }
}

std::unique_ptr<PendingFloat> Readbacks::read(const float* value) {
  Slot slot{};
  if (free_.empty()) {
    HH_CUDA_CHECK(cudaMallocHost(&slot.host, sizeof(float)));
    HH_CUDA_CHECK(cudaEventCreateWithFlags(&slot.arrived, cudaEventDisableTiming));
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  HH_CUDA_CHECK(cudaMemcpyAsync(slot.host, value, sizeof(float), cudaMemcpyDeviceToHost, stream_));
  HH_CUDA_CHECK(cudaEventRecord(slot.arrived, stream_));
  return std::make_unique<CudaPendingFloat>(*this, slot);
}

}  // namespace hh
