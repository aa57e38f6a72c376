// SPDX-License-Identifier: Apache-2.0
#include "engine/device/kernel_table.h"

namespace hh {
namespace {

template <class Args>
auto scratch_size() -> std::size_t (*)(const Args&) {
  if constexpr (requires(const Args& args) { args.workspace; }) {
    return [](const Args& args) { return cpu::workspace_bytes(args); };
  } else {
    return nullptr;
  }
}

KernelTable make_table() {
  KernelTable table;
#define HH_KERNEL(name, ...)                                               \
  {                                                                        \
    using Entry = __VA_ARGS__;                                             \
    Kernel<Entry>& kernel = table;                                         \
    kernel.run = [](const Entry& args, StreamHandle) { cpu::name(args); }; \
    kernel.workspace_bytes = scratch_size<Entry>();                        \
  }
#include "engine/device/kernel_list.inc"
#undef HH_KERNEL
  return table;
}

}  // namespace

const KernelTable& cpu_kernels() {
  static const KernelTable table = make_table();
  return table;
}

}  // namespace hh
