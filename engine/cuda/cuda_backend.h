// The GPU's Backend: one stream for everything of a device, memory of the driver, pinned staging.
// Part of libhh_cuda.so, which the program loads when asked for a GPU.
#pragma once
#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>

#include "engine/backend.h"

namespace hh {

/// The GPU's kernels: every entry is filled.
const KernelTable& cuda_kernels();

/// Copies from pageable host memory in stream order without waiting for the device: the bytes go
/// through pinned buffers that are used in turn, each again once its last copy has passed.
class PinnedStaging {
 public:
  explicit PinnedStaging(cudaStream_t stream);
  ~PinnedStaging();
  PinnedStaging(const PinnedStaging&) = delete;
  PinnedStaging& operator=(const PinnedStaging&) = delete;
  void copy(void* to, const void* from, std::size_t bytes);

 private:
  static constexpr std::size_t kBytes = std::size_t{4} << 20, kBuffers = 4;
  struct Buffer {
    void* memory = nullptr;
    cudaEvent_t passed = nullptr;
  };
  cudaStream_t stream_;
  std::array<Buffer, kBuffers> buffers_;
  std::size_t next_ = 0;
};

class CudaBackend final : public Backend {
 public:
  /// Throws DeviceUnavailable: no driver, one too old, no such GPU, or one too old for our kernels.
  explicit CudaBackend(int index);
  ~CudaBackend() override;

  void* allocate(std::size_t bytes) override;
  void release(void* memory) noexcept override;
  void copy_from_host(void* to, const void* from, std::size_t bytes) override;
  void copy_to_host(void* to, const void* from, std::size_t bytes) override;
  void copy_within(void* to, const void* from, std::size_t bytes) override;
  void zero(void* memory, std::size_t bytes) override;
  std::unique_ptr<LaunchGraph> record(const std::function<void()>& work) override;
  void synchronize() override;
  StreamHandle stream() override { return stream_; }
  const KernelTable& kernels() const override { return cuda_kernels(); }

 private:
  int index_;
  cudaStream_t stream_ = nullptr;
  PinnedStaging staging_;
};

}  // namespace hh
