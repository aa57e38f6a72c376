// SPDX-License-Identifier: Apache-2.0
#include "engine/device/cuda/cuda_backend.h"
#include "engine/device/fill_kernel_table.h"

namespace hh {
namespace {

struct OnGpu {
  static void run(const auto& args, StreamHandle stream) { gpu::run(args, stream); }
  static auto workspace_bytes(const auto& args) -> decltype(gpu::workspace_bytes(args)) {
    return gpu::workspace_bytes(args);
  }
  static auto partial_sums_bytes(const auto& args) -> decltype(gpu::partial_sums_bytes(args)) {
    return gpu::partial_sums_bytes(args);
  }
};

}  // namespace

const KernelTable& cuda_kernels() {
  static const KernelTable table = [] {
    KernelTable made;
    fill<OnGpu>(made, ActivationKernels<float>());
    fill<OnGpu>(made, ActivationKernels<bf16>());
    fill<OnGpu>(made, ActivationKernels<f16>());
    fill<OnGpu>(made, OtherKernels());
    return made;
  }();
  return table;
}

}  // namespace hh

extern "C" __attribute__((visibility("default"))) std::uint64_t hh_cuda_build_identity() {
  static constexpr hh::BuildIdentity identity;
  return identity;
}
