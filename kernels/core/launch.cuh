// SPDX-License-Identifier: Apache-2.0
// Launching kernels: grids that fit, and dynamic shared memory of more than 48 KiB.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>

#include "kernels/core/cuda_check.h"

namespace hh::gpu {

/// The most blocks along the second and third axis of a grid.
constexpr std::int64_t kMostGridY = 65535;

/// The grid of so many blocks; each launch of ours takes its grid from here. Throws DeviceError
/// when an extent is beyond what CUDA has (2^31 - 1 along x, 65535 along y and z).
inline dim3 grid_of(std::int64_t x, std::int64_t y = 1, std::int64_t z = 1) {
  if (x > INT32_MAX || y > kMostGridY || z > kMostGridY) {
    throw DeviceError("a launch of " + std::to_string(x) + " x " + std::to_string(y) + " x " +
                      std::to_string(z) +
                      " blocks is beyond a GPU's 2147483647 x 65535 x 65535; use a smaller batch");
  }
  return {unsigned(x), unsigned(y), unsigned(z)};
}

/// Calls launch(first, count) for parts of [0, n) that fit the second or third axis.
template <class Launch>
void in_grid_parts(std::int64_t n, const Launch& launch) {
  for (std::int64_t first = 0; first < n; first += kMostGridY) {
    launch(first, std::min(kMostGridY, n - first));
  }
}

/// Throws DeviceError when the launch is refused. `bytes` is the dynamic shared memory.
template <class... Args>
void launch(void (*kernel)(Args...), std::int64_t blocks, int threads, std::size_t bytes,
            StreamHandle stream, const std::type_identity_t<Args>&... args) {
  constexpr std::size_t kUnasked = 48 * 1024;
  if (bytes > kUnasked) {
    HH_CUDA_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                       cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)));
  }
  kernel<<<grid_of(blocks), unsigned(threads), bytes, stream>>>(args...);
  HH_CHECK_LAUNCH(stream);
}

}  // namespace hh::gpu
