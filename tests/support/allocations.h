// SPDX-License-Identifier: Apache-2.0
// Kernels never allocate: what they need they are lent.
#pragma once
#include <cstdint>
#include <vector>

#include "engine/device/kernel_table.h"
#include "kernels/core/parallel.h"

namespace hh::testing {

/// Calls of operator new so far by this thread, which is one of those that run a CPU kernel. For
/// programs that have allocations.cpp, which replaces it.
std::int64_t allocations();

/// How often the CPU's kernel for `args` allocates.
template <class Args>
std::int64_t allocations_of(Args args) {
  const Kernel<Args>& kernel = cpu_kernels().of<Args>();
  struct alignas(64) Line {
    char bytes[64];
  };
  std::vector<Line> memory(kernel.workspace_bytes(args) / sizeof(Line) + 1);
  args.workspace = memory.data();
  cpu::parallel_for(2, 1, [](std::int64_t, std::int64_t) {});  // the process's first starts threads
  const std::int64_t before = allocations();
  kernel.run(args, nullptr);
  return allocations() - before;
}

}  // namespace hh::testing
