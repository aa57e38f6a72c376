// SPDX-License-Identifier: Apache-2.0
// Launching kernels that need more dynamic shared memory than 48 KiB.
#pragma once
#include <cstdint>
#include <type_traits>

#include "kernels/core/cuda_check.h"

namespace hh::gpu {

/// Throws DeviceError when the launch is refused. `bytes` is the dynamic shared memory.
template <class... Args>
void launch(void (*kernel)(Args...), std::int64_t blocks, int threads, std::size_t bytes,
            StreamHandle stream, const std::type_identity_t<Args>&... args) {
  constexpr std::size_t kUnasked = 48 * 1024;
  if (bytes > kUnasked) {
    HH_CUDA_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                       cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)));
  }
  kernel<<<unsigned(blocks), unsigned(threads), bytes, stream>>>(args...);
  HH_CHECK_LAUNCH(stream);
}

}  // namespace hh::gpu
