// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>

#include "kernels/gemm/instructions.h"
#include "tests/support/device.h"

namespace hh::testing {

/// Whether there is anything to test: HH_SIMD=avx2 and lesser CPUs have no products of bytes.
inline bool on_cpu_with_int8() {
  const auto all = devices();
  return cpu::has_int8_products() && std::count(all.begin(), all.end(), kCpu) != 0;
}

}  // namespace hh::testing
