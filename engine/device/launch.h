// SPDX-License-Identifier: Apache-2.0
// Running a kernel on a device: finds it, lends it scratch memory, queues it; notes what it leaves.
#pragma once
#include <optional>

#include "engine/device/backend.h"
#include "engine/device/kernel_table.h"
#include "engine/device/late_sums.h"
#include "engine/device/memory.h"
#include "engine/device/profiler.h"

namespace hh {

template <class Args>
void launch(Device device, Args args) {
  Backend& on = backend(device);
  const UseDevice current(on);
  const Kernel<Args>& kernel = on.kernels().of<Args>();
  // Freed before the kernel has run on a GPU; the cache reuses it in stream order only.
  std::optional<Storage> scratch;
  LateSums* const late = LateSums::current();
  PartialSums left;
  std::unique_ptr<Storage> rows;
  if constexpr (requires { args.left; }) {
    const bool leaves = late != nullptr && kernel.partial_sums_bytes != nullptr;
    if (const std::size_t bytes = leaves ? kernel.partial_sums_bytes(args) : 0; bytes != 0) {
      rows = std::make_unique<Storage>(bytes, device);
      left.rows = reinterpret_cast<float*>(rows->data());
      args.left = &left;
    }
  }
  if constexpr (requires { args.workspace; }) {
    if (kernel.workspace_bytes != nullptr) {
      lend_scratch([&] { return kernel.workspace_bytes(args); }, device, scratch);
      if (scratch) args.workspace = scratch->data();
    }
  }
  {
    const ProfileLaunch timed(on.stream(), args);
    kernel.run(args, on.stream());
  }
  if (left.count != 0) late->add(left, std::move(rows));
}

}  // namespace hh
