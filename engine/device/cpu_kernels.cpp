// SPDX-License-Identifier: Apache-2.0
#include "engine/device/fill_kernel_table.h"

namespace hh {
namespace {

struct OnCpu {
  static void run(const auto& args, StreamHandle) { cpu::run(args); }
  static auto workspace_bytes(const auto& args) -> decltype(cpu::workspace_bytes(args)) {
    return cpu::workspace_bytes(args);
  }
};

}  // namespace

const KernelTable& cpu_kernels() {
  static const KernelTable table = [] {
    KernelTable made;
    fill<OnCpu>(made, ActivationKernels<float>());
    fill<OnCpu>(made, ActivationKernels<bf16>());
    fill<OnCpu>(made, OtherKernels());
    fill<OnCpu>(made, CpuKernels());
    return made;
  }();
  return table;
}

std::uint64_t build_identity() {
  static const BuildIdentity identity;  // clang 14 can't make it a constant
  return identity;
}

}  // namespace hh
