// SPDX-License-Identifier: Apache-2.0
// Errors of CUDA calls. For .cu files and files that wrap a CUDA library only.
#pragma once
#include <cuda_runtime_api.h>

#include <string>
#include <string_view>

#include "kernels/core/check.h"

namespace hh::gpu {

/// One line for the user, who can't mend our call: its name, what the library says, what to do.
inline DeviceError failed_call(std::string_view call, std::string_view why) {
  return DeviceError(std::string(call.substr(0, call.find('('))) + " failed on the GPU: " +
                     std::string(why) + "; see what nvidia-smi says of it, or use --device cpu");
}

inline void check(cudaError_t status, std::string_view call) {
  if (status != cudaSuccess) throw failed_call(call, cudaGetErrorString(status));
}

}  // namespace hh::gpu

/// Throws DeviceError when a CUDA runtime call fails.
#define HH_CUDA_CHECK(call) ::hh::gpu::check((call), #call)

/// After every launch: throws when it was refused. With HH_SYNC_LAUNCHES it also waits for the
/// kernel, so that a fault shows where it happened (not under graph capture), and says where.
#ifdef HH_SYNC_LAUNCHES
#define HH_STRING_OF(x) #x
#define HH_LINE_OF(x) HH_STRING_OF(x)
#define HH_CHECK_LAUNCH(stream)                                                             \
  do {                                                                                      \
    ::hh::gpu::check(cudaGetLastError(), "a launch at " __FILE__ ":" HH_LINE_OF(__LINE__)); \
    ::hh::gpu::check(cudaStreamSynchronize((stream)),                                       \
                     "a kernel launched at " __FILE__ ":" HH_LINE_OF(__LINE__));            \
  } while (false)
#else
#define HH_CHECK_LAUNCH(stream) ::hh::gpu::check(cudaGetLastError(), "a kernel's launch")
#endif
