// SPDX-License-Identifier: Apache-2.0
// Errors of CUDA calls. For .cu files and files that wrap a CUDA library only.
#pragma once
#include <cuda_runtime_api.h>

#include <string>

#include "kernels/core/check.h"

namespace hh::gpu {

inline void check(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) return;
  throw DeviceError(std::string(file) + ":" + std::to_string(line) + ": " + call + ": " +
                    cudaGetErrorName(status) + ": " + cudaGetErrorString(status));
}

}  // namespace hh::gpu

/// Throws DeviceError when a CUDA runtime call fails.
#define HH_CUDA_CHECK(call) ::hh::gpu::check((call), #call, __FILE__, __LINE__)

/// After every launch: throws when it was refused. With HH_SYNC_LAUNCHES it also waits for the
/// kernel, so that a fault shows where it happened (not under graph capture).
#ifdef HH_SYNC_LAUNCHES
#define HH_CHECK_LAUNCH(stream)                     \
  do {                                              \
    HH_CUDA_CHECK(cudaGetLastError());              \
    HH_CUDA_CHECK(cudaStreamSynchronize((stream))); \
  } while (false)
#else
#define HH_CHECK_LAUNCH(stream) HH_CUDA_CHECK(cudaGetLastError())
#endif
