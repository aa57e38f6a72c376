// SPDX-License-Identifier: Apache-2.0
// The kernels of a device, found by the type of their arguments. One table per device holds them
// all, so the operations in ops/ are written once.
#pragma once
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <type_traits>

#include "engine/device/kernel_list.h"
#include "kernels/core/check.h"

namespace hh {

/// How to run the kernel whose arguments are `Args`, and how much memory it wants.
template <class Args>
struct Kernel {
  void (*run)(const Args&, StreamHandle) = nullptr;
  std::size_t (*workspace_bytes)(const Args&) = nullptr;  // null: none
  // What args.left->rows takes (kernels/core/partial_sums.h); null: the op finishes its sums.
  std::size_t (*partial_sums_bytes)(const Args&) = nullptr;
};

template <class List>
struct KernelsOf;
template <class... Args>
struct KernelsOf<KernelList<Args...>> : Kernel<Args>... {};

struct KernelTable : KernelsOf<ActivationKernels<float>>,
                     KernelsOf<ActivationKernels<bf16>>,
                     KernelsOf<ActivationKernels<f16>>,
                     KernelsOf<OtherKernels>,
                     KernelsOf<CpuKernels> {
  /// Throws std::invalid_argument where the device has none: the CPU of f16, GPUs of CpuKernels.
  template <class Args>
  const Kernel<Args>& of() const {
    static_assert(std::is_base_of_v<Kernel<Args>, KernelTable>,
                  "this op isn't in engine/device/kernel_list.h");
    const Kernel<Args>& kernel = *this;
    if (kernel.run == nullptr) {
      throw std::invalid_argument(
          requires { Args::kOnCpuOnly; }
              ? "the network runs in int8 on the CPU only; use bf16 on a GPU"
              : "the network runs in f16 on a GPU only; use bf16 or f32 on the CPU");
    }
    return kernel;
  }
};

/// The CPU's: every entry but those of f16 activations is filled.
const KernelTable& cpu_kernels();

/// Of this program's tables. A library whose identity differs has another table, whose kernels
/// would be called with the wrong arguments.
std::uint64_t build_identity();

}  // namespace hh
