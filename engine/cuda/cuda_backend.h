// The GPU's Backend: one stream for all kernels of a device, memory of the driver.
// Part of libhh_cuda.so, which the program loads when asked for a GPU.
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>

#include "engine/backend.h"
#include "engine/cuda/transfers.h"

namespace hh {

/// The GPU's kernels: every entry is filled.
const KernelTable& cuda_kernels();

class CudaBackend final : public Backend {
 public:
  /// Throws DeviceUnavailable: no driver, one too old, no such GPU, or one too old for our kernels.
  explicit CudaBackend(int index);
  ~CudaBackend() override;

  void* allocate(std::size_t bytes) override;
  void release(void* memory) noexcept override;
  void copy_from_host(void* to, const void* from, std::size_t bytes) override;
  void copy_to_host(void* to, const void* from, std::size_t bytes) override;
  std::unique_ptr<PendingFloat> read_later(const float* value) override;
  void copy_within(void* to, const void* from, std::size_t bytes) override;
  void zero(void* memory, std::size_t bytes) override;
  std::unique_ptr<LaunchGraph> record(const std::function<void()>& work) override;
  void synchronize() override;
  StreamHandle stream() override { return stream_.handle; }
  const KernelTable& kernels() const override { return cuda_kernels(); }

 private:
  /// A stream destroyed after what is declared below it.
  struct OwnStream {
    cudaStream_t handle;
    ~OwnStream() { cudaStreamDestroy(handle); }
  };

  int index_;
  OwnStream stream_;
  Uploads uploads_;
  Readbacks readbacks_;
};

}  // namespace hh
