// SPDX-License-Identifier: Apache-2.0
// The GPU's Backend: one stream for all kernels of a device, memory of the driver.
// Part of libhh_cuda.so, which the program loads when asked for a GPU.
#pragma once
#include <cuda_runtime_api.h>

#include <atomic>
#include <cstddef>

#include "engine/device/backend.h"
#include "engine/device/cuda/transfers.h"
#include "engine/device/cuda/use_gpu.h"

namespace hh {

/// The GPU's kernels: every entry is filled.
const KernelTable& cuda_kernels();

class CudaBackend final : public Backend {
 public:
  /// Throws DeviceUnavailable: no driver, one too old, no such GPU, or one too old for our kernels.
  explicit CudaBackend(int index) : CudaBackend(UseGpu(usable(index))) {}
  ~CudaBackend() override;

  void* allocate(std::size_t bytes) override;
  void release(void* memory) noexcept override;
  bool use_less_scratch() override;
  std::unique_ptr<LaunchGraph> record(const std::function<void()>& work) override;
  bool recording() const override { return recording_; }
  void synchronize() override;
  StreamHandle stream() override { return stream_.handle; }
  const KernelTable& kernels() const override { return cuda_kernels(); }
  std::string name() const override;
  std::string machine_code() const override;
  std::unique_ptr<DeviceTimeline> timeline() override;

 private:
  /// Keeps to the GPU that is in use.
  explicit CudaBackend(const UseGpu& in_use);
  /// `index`, if that is a GPU we can use.
  static int usable(int index);
  int make_current() override;
  void restore_current(int before) noexcept override;
  void queue_copy_from_host(void* to, const void* from, std::size_t bytes) override;
  void queue_copy_to_host(void* to, const void* from, std::size_t bytes) override;
  std::unique_ptr<PendingFloat> queue_read(const float* value) override;
  void queue_copy_within(void* to, const void* from, std::size_t bytes) override;
  void queue_zero(void* memory, std::size_t bytes) override;

  /// A stream destroyed after what is declared below it.
  struct OwnStream {
    cudaStream_t handle;
    ~OwnStream() { cudaStreamDestroy(handle); }
  };

  int index_;
  std::atomic<bool> recording_{false};
  OwnStream stream_;
  Uploads uploads_;
  Readbacks readbacks_;
};

}  // namespace hh
