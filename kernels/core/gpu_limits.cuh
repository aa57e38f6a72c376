// SPDX-License-Identifier: Apache-2.0
// What the current GPU has of what kernels plan with.
#pragma once
#include "kernels/core/cuda_check.h"

namespace hh::gpu {

struct GpuLimits {
  int multiprocessors, block_bytes, multiprocessor_bytes;  // bytes of shared memory
};

inline GpuLimits gpu_limits() {
  int device = 0;
  HH_CUDA_CHECK(cudaGetDevice(&device));
  const auto of = [&](cudaDeviceAttr attribute) {
    int value = 0;
    HH_CUDA_CHECK(cudaDeviceGetAttribute(&value, attribute, device));
    return value;
  };
  return {of(cudaDevAttrMultiProcessorCount), of(cudaDevAttrMaxSharedMemoryPerBlockOptin),
          of(cudaDevAttrMaxSharedMemoryPerMultiprocessor)};
}

}  // namespace hh::gpu
