// Running a kernel on a device: finds it, lends it scratch memory, queues it.
#pragma once
#include "engine/backend.h"
#include "engine/memory.h"
#include "engine/profiler.h"

namespace hh {

template <class Args>
void launch(Device device, Args args) {
  Backend& on = backend(device);
  const Kernel<Args>& kernel = on.kernels().of<Args>();
  // On a GPU this is the time to queue it, not to run it.
  const ProfileRange range(type_name<Args>(), "launch");
  HH_REQUIRE(kernel.run != nullptr, "the network runs in f16 on a GPU only; use bf16 or f32 here");
  if constexpr (requires { args.workspace; }) {
    const std::size_t bytes = kernel.workspace_bytes ? kernel.workspace_bytes(args) : 0;
    if (bytes != 0) {
      // Freed before the kernel has run on a GPU; the cache reuses it in stream order only.
      const Storage scratch(bytes, device);
      args.workspace = scratch.data();
      return kernel.run(args, on.stream());
    }
  }
  kernel.run(args, on.stream());
}

}  // namespace hh
