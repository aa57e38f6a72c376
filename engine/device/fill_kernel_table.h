// SPDX-License-Identifier: Apache-2.0
// Fills a device's table of kernels; written once for the CPU and the GPU. Includes every op.
#pragma once
#include <cstdint>

#include "engine/device/kernel_table.h"
#include "kernels/attention/window_attention.h"
#include "kernels/blockify/blockify_layer_norm.h"
#include "kernels/blockify/deblockify_residual.h"
#include "kernels/conv/conv2d.h"
#include "kernels/conv/int8_conv2d.h"
#include "kernels/elementwise/add.h"
#include "kernels/elementwise/add_partial_sums.h"
#include "kernels/elementwise/cast.h"
#include "kernels/hamming/hamming_average_precision.h"
#include "kernels/hamming/hamming_radius.h"
#include "kernels/hamming/hamming_topk.h"
#include "kernels/hamming/pack_codes.h"
#include "kernels/hash/hash_head.h"
#include "kernels/hash/hash_pool.h"
#include "kernels/input/patchify.h"
#include "kernels/interaction/block_average_pool.h"
#include "kernels/interaction/interaction_merge.h"
#include "kernels/interaction/interaction_tokens.h"
#include "kernels/layer_norm/residual_layer_norm.h"
#include "kernels/linear/bias_gelu.h"
#include "kernels/linear/int8_linear.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/linear_gelu.h"
#include "kernels/loss/bank_update.h"
#include "kernels/loss/wml_loss.h"
#include "kernels/optimizer/gradient_norm.h"
#include "kernels/optimizer/optimizer_update.h"
#include "kernels/optimizer/shard_sum.h"
#include "kernels/random/drop_path_scale.h"

namespace hh {

/// The kernel that runs On::run(args, stream), with On::workspace_bytes(args) of scratch memory and
/// On::partial_sums_bytes(args) of sums that it may leave, if the device declares those for these
/// arguments.
template <class On, class Args>
Kernel<Args> kernel_on() {
  Kernel<Args> kernel{.run = [](const Args& args, StreamHandle s) { On::run(args, s); }};
  if constexpr (requires(const Args& args) { On::workspace_bytes(args); }) {
    kernel.workspace_bytes = [](const Args& args) { return On::workspace_bytes(args); };
  }
  if constexpr (requires(const Args& args) { On::partial_sums_bytes(args); }) {
    kernel.partial_sums_bytes = [](const Args& args) { return On::partial_sums_bytes(args); };
  }
  return kernel;
}

/// Tells two builds of the table apart: FNV-1a over the version, and name and size of each op's
/// arguments, in the table's order.
class BuildIdentity {
 public:
  constexpr BuildIdentity() {
    see(HH_VERSION);
    see(ActivationKernels<float>());
    see(ActivationKernels<bf16>());
    see(ActivationKernels<f16>());
    see(OtherKernels());
    see(CpuKernels());
  }
  constexpr operator std::uint64_t() const { return hash_; }

 private:
  constexpr void see(const char* text) {
    for (; *text != 0; ++text) hash_ = (hash_ ^ std::uint8_t(*text)) * 0x100000001b3u;
  }
  template <class Args>
  constexpr void see_type() {
    see(__PRETTY_FUNCTION__);
    hash_ = (hash_ ^ sizeof(Args)) * 0x100000001b3u;
  }
  template <class... Args>
  constexpr void see(KernelList<Args...>) {
    (see_type<Args>(), ...);
  }
  std::uint64_t hash_ = 0xcbf29ce484222325u;
};

template <class On, class... Args>
void fill(KernelTable& table, KernelList<Args...>) {
  ((static_cast<Kernel<Args>&>(table) = kernel_on<On, Args>()), ...);
}

}  // namespace hh
