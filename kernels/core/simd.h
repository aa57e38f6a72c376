// SPDX-License-Identifier: Apache-2.0
// Which instruction set the CPU kernels use. Each kernel is compiled for several by Highway and
// picks the best that the machine has; this forces a lesser one, for tests and comparisons.
#pragma once
#include <string>
#include <vector>

namespace hh::cpu {

/// "baseline" (any x86-64: emulated vectors, or one lane where GCC before 12.3 would miscompile
/// those), "avx2", "avx512". Those this machine runs.
std::vector<std::string> simd_available();

/// The one in use: the best, or what simd_force chose.
std::string simd_in_use();

/// Uses `name` from now on, in our kernels and in the GEMM library. Call it before any kernel has
/// run: the GEMM library keeps its first choice. Throws std::invalid_argument for a name that is
/// unknown or that this machine lacks. The environment variable HH_SIMD does the same at start-up.
void simd_force(const std::string& name);

/// Applies HH_SIMD if it is set. Programs and test mains call it first.
void simd_from_environment();

}  // namespace hh::cpu
