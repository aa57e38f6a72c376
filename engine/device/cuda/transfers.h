// SPDX-License-Identifier: Apache-2.0
// Copies between host and GPU that leave the kernels running: batches on their way in, logged
// scalars on their way out.
#pragma once
#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

#include "engine/device/backend.h"

namespace hh {

/// Copies from pageable host memory in the order of a stream, while the kernels before them still
/// run: the bytes go through pinned memory and a copy stream into a slot on the GPU, and only the
/// move from there to their place is queued among the kernels. Slots are used in turn, so the host
/// waits once it is kSlots * kBytes ahead of the GPU: a batch of 256 images of 224 x 224 takes
/// ten.
class Uploads {
 public:
  explicit Uploads(cudaStream_t stream);
  ~Uploads();
  Uploads(const Uploads&) = delete;
  Uploads& operator=(const Uploads&) = delete;
  void copy(void* to, const void* from, std::size_t bytes);

 private:
  static constexpr std::size_t kBytes = std::size_t{4} << 20, kSlots = 12;
  struct Slot {
    void *host = nullptr, *device = nullptr;
    cudaEvent_t arrived = nullptr, taken = nullptr;  // on the GPU; at its place, so free again
  };
  cudaStream_t stream_, copies_ = nullptr;
  std::array<Slot, kSlots> slots_;
  std::size_t next_ = 0;
};

/// Floats that are read some steps later. Slots of pinned memory are kept for the next ones.
class Readbacks {
 public:
  explicit Readbacks(cudaStream_t stream) : stream_(stream) {}
  ~Readbacks();
  Readbacks(const Readbacks&) = delete;
  Readbacks& operator=(const Readbacks&) = delete;
  /// Must not outlive this.
  std::unique_ptr<PendingFloat> read(const float* value);

 private:
  friend class CudaPendingFloat;
  struct Slot {
    void* host;  // a float
    cudaEvent_t arrived;
  };
  cudaStream_t stream_;
  std::vector<Slot> free_;
};

}  // namespace hh
