// SPDX-License-Identifier: Apache-2.0
// The kernels of a device, found by the type of their arguments. One table per device holds them
// all, so the operations in ops.h are written once.
#pragma once
#include <cstddef>

#include "kernels/attention/window_attention.h"
#include "kernels/blockify/blockify_layer_norm.h"
#include "kernels/blockify/deblockify_residual.h"
#include "kernels/conv/conv2d.h"
#include "kernels/elementwise/add.h"
#include "kernels/elementwise/bias_gelu.h"
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
#include "kernels/linear/linear.h"
#include "kernels/loss/bank_update.h"
#include "kernels/loss/wml_loss.h"
#include "kernels/optimizer/gradient_norm.h"
#include "kernels/optimizer/optimizer_update.h"
#include "kernels/random/drop_path_scale.h"

namespace hh {

/// How to run the kernel whose arguments are `Args`, and how much scratch memory it wants.
template <class Args>
struct Kernel {
  void (*run)(const Args&, StreamHandle) = nullptr;
  std::size_t (*workspace_bytes)(const Args&) = nullptr;  // null: none
};

template <class... Args>
struct KernelsOf : Kernel<Args>... {
  template <class A>
  Kernel<A>& of() {
    return *this;
  }
  template <class A>
  const Kernel<A>& of() const {
    return *this;
  }
};

/// Those that exist for every activation type. The CPU has none for f16.
template <template <class> class... Args>
struct ActivationKernels : KernelsOf<Args<float>..., Args<bf16>..., Args<f16>...> {};

struct KernelTable
    : ActivationKernels<
          LinearForward, LinearBackwardInput, LinearBackwardWeight, Conv2dForward,
          Conv2dBackwardInput, Conv2dBackwardWeight, ResidualLayerNormForward,
          ResidualLayerNormBackward, BlockifyLayerNormForward, BlockifyLayerNormBackward,
          DeblockifyResidualForward, DeblockifyResidualBackward, BiasGeluForward, BiasGeluBackward,
          Add, WindowAttentionForward, WindowAttentionBackward, InteractionTokensForward,
          InteractionTokensBackward, BlockAveragePoolForward, BlockAveragePoolBackward,
          InteractionMergeForward, InteractionMergeBackward, HashPoolForward, HashPoolBackward,
          HashHeadForward, HashHeadBackward, PatchifyForward, PatchifyBackward, PatchifyPixels>,
      KernelsOf<WmlLoss<float>, WmlLoss<f16>, WmlLoss<bf16>, BankUpdate<float>, BankUpdate<f16>,
                BankUpdate<bf16>, Cast<float, bf16>, Cast<bf16, float>, Cast<float, f16>,
                Cast<f16, float>, RmspropUpdate, AdamwUpdate, SgdUpdate, GradientNorm,
                DropPathScale, PackCodes, HammingTopk, HammingRadius, HammingAveragePrecision> {
  template <class Args>
  const Kernel<Args>& of() const {
    return static_cast<const Kernel<Args>&>(*this);
  }
};

/// The CPU's: every entry but those of f16 activations is filled.
const KernelTable& cpu_kernels();

}  // namespace hh
