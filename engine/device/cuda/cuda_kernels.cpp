// SPDX-License-Identifier: Apache-2.0
#include "engine/device/cuda/cuda_backend.h"

namespace hh {
namespace {

template <class Args>
auto scratch_size() -> std::size_t (*)(const Args&) {
  if constexpr (requires(const Args& args) {
                  args.workspace;
                  gpu::workspace_bytes(args);
                }) {
    return [](const Args& args) { return gpu::workspace_bytes(args); };
  } else {
    return nullptr;  // a kernel that needs scratch memory on the CPU only
  }
}

KernelTable make_table() {
  KernelTable table;
#define HH_KERNEL(name, ...)                                                              \
  {                                                                                       \
    using Entry = __VA_ARGS__;                                                            \
    Kernel<Entry>& kernel = table;                                                        \
    kernel.run = [](const Entry& args, StreamHandle stream) { gpu::name(args, stream); }; \
    kernel.workspace_bytes = scratch_size<Entry>();                                       \
  }
#define HH_F16_KERNEL HH_KERNEL
#include "engine/device/kernel_list.inc"
#undef HH_KERNEL
  return table;
}

}  // namespace

const KernelTable& cuda_kernels() {
  static const KernelTable table = make_table();
  return table;
}

}  // namespace hh
