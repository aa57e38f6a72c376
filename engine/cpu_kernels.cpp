#include "engine/kernel_table.h"

namespace hh {
namespace {

/// One entry per overload of cpu::NAME(Args): its scratch size too, where it has one.
#define HH_CPU_KERNEL(name, ...)                                         \
  {                                                                      \
    using Args = __VA_ARGS__;                                            \
    Kernel<Args>& entry = table;                                         \
    entry.run = [](const Args& args, StreamHandle) { cpu::name(args); }; \
    entry.workspace_bytes = scratch_size<Args>();                        \
  }
#define HH_CPU_KERNELS(name, Args) \
  HH_CPU_KERNEL(name, Args<float>) \
  HH_CPU_KERNEL(name, Args<bf16>)

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
  HH_CPU_KERNELS(linear_forward, LinearForward)
  HH_CPU_KERNELS(linear_backward_input, LinearBackwardInput)
  HH_CPU_KERNELS(linear_backward_weight, LinearBackwardWeight)
  HH_CPU_KERNELS(conv2d_forward, Conv2dForward)
  HH_CPU_KERNELS(conv2d_backward_input, Conv2dBackwardInput)
  HH_CPU_KERNELS(conv2d_backward_weight, Conv2dBackwardWeight)
  HH_CPU_KERNELS(residual_layer_norm_forward, ResidualLayerNormForward)
  HH_CPU_KERNELS(residual_layer_norm_backward, ResidualLayerNormBackward)
  HH_CPU_KERNELS(blockify_layer_norm_forward, BlockifyLayerNormForward)
  HH_CPU_KERNELS(blockify_layer_norm_backward, BlockifyLayerNormBackward)
  HH_CPU_KERNELS(deblockify_residual_forward, DeblockifyResidualForward)
  HH_CPU_KERNELS(deblockify_residual_backward, DeblockifyResidualBackward)
  HH_CPU_KERNELS(bias_gelu_forward, BiasGeluForward)
  HH_CPU_KERNELS(bias_gelu_backward, BiasGeluBackward)
  HH_CPU_KERNELS(add, Add)
  HH_CPU_KERNELS(window_attention_forward, WindowAttentionForward)
  HH_CPU_KERNELS(window_attention_backward, WindowAttentionBackward)
  HH_CPU_KERNELS(interaction_tokens_forward, InteractionTokensForward)
  HH_CPU_KERNELS(interaction_tokens_backward, InteractionTokensBackward)
  HH_CPU_KERNELS(block_average_pool_forward, BlockAveragePoolForward)
  HH_CPU_KERNELS(block_average_pool_backward, BlockAveragePoolBackward)
  HH_CPU_KERNELS(interaction_merge_forward, InteractionMergeForward)
  HH_CPU_KERNELS(interaction_merge_backward, InteractionMergeBackward)
  HH_CPU_KERNELS(hash_pool_forward, HashPoolForward)
  HH_CPU_KERNELS(hash_pool_backward, HashPoolBackward)
  HH_CPU_KERNELS(hash_head_forward, HashHeadForward)
  HH_CPU_KERNELS(hash_head_backward, HashHeadBackward)
  HH_CPU_KERNELS(patchify_forward, PatchifyForward)
  HH_CPU_KERNELS(patchify_backward, PatchifyBackward)
  HH_CPU_KERNELS(patchify_pixels, PatchifyPixels)
  HH_CPU_KERNELS(wml_loss, WmlLoss)
  HH_CPU_KERNEL(wml_loss, WmlLoss<f16>)
  HH_CPU_KERNELS(bank_update, BankUpdate)
  HH_CPU_KERNEL(bank_update, BankUpdate<f16>)
  HH_CPU_KERNEL(cast, Cast<float, bf16>)
  HH_CPU_KERNEL(cast, Cast<bf16, float>)
  HH_CPU_KERNEL(cast, Cast<float, f16>)
  HH_CPU_KERNEL(cast, Cast<f16, float>)
  HH_CPU_KERNEL(rmsprop_update, RmspropUpdate)
  HH_CPU_KERNEL(adamw_update, AdamwUpdate)
  HH_CPU_KERNEL(sgd_update, SgdUpdate)
  HH_CPU_KERNEL(gradient_norm, GradientNorm)
  HH_CPU_KERNEL(drop_path_scale, DropPathScale)
  return table;
}

}  // namespace

const KernelTable& cpu_kernels() {
  static const KernelTable table = make_table();
  return table;
}

}  // namespace hh
