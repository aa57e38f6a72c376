// SPDX-License-Identifier: Apache-2.0
// The differentiable operations HybridHash is made of, each one fused kernel (or library call). The
// maths, shapes and layouts are in the kernel headers named beside them. Activations are f32 or
// bf16, channels-last; all inputs of a call are on one device. While a Tape records (tape.h),
// gradients flow to every input that wants one and are added to every parameter's gradient.
#pragma once
#include "engine/tensor/parameter.h"
#include "engine/tensor/tape.h"
#include "engine/tensor/tensor.h"
#include "kernels/attention/window_attention.h"
#include "kernels/blockify/blockify_layer_norm.h"
#include "kernels/conv/conv2d.h"
#include "kernels/input/patchify.h"
#include "kernels/interaction/interaction_merge.h"

namespace hh {

/// Scale and shift of a LayerNorm.
struct NormParameters {
  const Parameter& gamma;  // [C]
  const Parameter& beta;   // [C]
  float eps = 1e-6f;
};

/// A residual stream and its normalised form.
struct ResidualPair {
  Tensor z;  // the stream
  Tensor y;  // LayerNorm of it; empty where none was asked for
};

/// Float images [B, C, S, S] to patch rows [B*(S/p)^2, C*p*p] of type `dtype`.
Tensor patchify(const Tensor& images, const PatchShape& shape, DType dtype);

/// 8-bit images [B, S, S, C] to normalised patch rows. Not differentiable. input/patchify.h
Tensor patchify_pixels(const Tensor& pixels, const PatchShape& shape, std::span<const float> mean,
                       std::span<const float> std, DType dtype);

/// x [..., I] -> [..., O]. `bias` may be null. linear/linear.h
Tensor linear(const Tensor& x, const Parameter& weight, const Parameter* bias);

/// GELU(x + bias). In inference the result takes x's memory. elementwise/bias_gelu.h
Tensor bias_gelu(const Tensor& x, const Parameter& bias);

/// linear(bias_gelu(linear(x))) without the second bias: x [..., I] -> [..., O]. It keeps only x;
/// backward computes the hidden layer, the network's widest tensors, again.
Tensor mlp(const Tensor& x, const Parameter& weight1, const Parameter& bias1,
           const Parameter& weight2);

/// qkv [..., N, 3*H*d] -> [..., N, H*d]. attention/window_attention.h
Tensor window_attention(const Tensor& qkv, int tokens, int heads);

/// z = residual + image_scale * (branch + bias), y = LayerNorm(z). Rows are [B * rows per image,
/// C]. `image_scale` [B] may be empty. In inference z takes the memory of a `residual` that no
/// other Tensor shares. layer_norm/residual_layer_norm.h
ResidualPair residual_layer_norm(const Tensor& residual, const Tensor& branch,
                                 const Parameter& bias, const Tensor& image_scale,
                                 const NormParameters& norm);

/// Image [B, h, h, C] -> blocks [B, T, N, C] plus position embedding, and its LayerNorm.
/// blockify/blockify_layer_norm.h
ResidualPair blockify_layer_norm(const Tensor& x, const Parameter& pos, const NormParameters& norm,
                                 int grid);

/// Blocks [B, T, N, C] plus the last branch -> image [B, h, h, C]. blockify/deblockify_residual.h
Tensor deblockify_residual(const Tensor& z, const Tensor& branch, const Parameter& bias,
                           const Tensor& image_scale);

/// x [B, H, W, Cin] -> [B, H, W, Cout], stride 1, same size. conv/conv2d.h
Tensor conv2d(const Tensor& x, const Parameter& weight, const Parameter& bias);

/// x [B, g*s, g*s, C] -> [B, g, g, C]. interaction/block_average_pool.h
Tensor block_average_pool(const Tensor& x, int grid);

/// z [B, m, m, C] -> tokens [B, M, C]. interaction/interaction_tokens.h
Tensor interaction_tokens(const Tensor& z, const Parameter& pos);

/// local [B, h, h, C], glob [B, m, m, C] -> [B, h/2, h/2, C]. interaction/interaction_merge.h
Tensor interaction_merge(const Tensor& local, const Tensor& glob, const NormParameters& norm);

/// local [B, s, s, C], glob [B, 1, 1, C] -> pooled [B, C]. hash/hash_pool.h
Tensor hash_pool(const Tensor& local, const Tensor& glob);

/// Logits and tanh, both f32 [B, K]. Gradients flow through `code` only. hash/hash_head.h
struct HashCode {
  Tensor logits;
  Tensor code;
};
HashCode hash_head(const Tensor& pooled, const Parameter& weight, const Parameter& bias);

/// The memory bank as the loss sees it: last code and labels of every training image.
struct BankView {
  Tensor codes;   // [M, K] f32, f16 or bf16
  Tensor labels;  // [M, words] i64: packed class bits
};
/// bank[index] = code, labels. The indices must be in range. loss/bank_update.h
void bank_update(const BankView& bank, const Tensor& code, const Tensor& labels,
                 const Tensor& index);

/// The loss of a batch against the bank; the root of backward. While recording, the gradient is
/// computed in the same pass and waits on the tape. loss/wml_loss.h
struct WmlLossResult {
  Tensor loss;   // [1] f32
  Tensor pairs;  // [2] i64: similar and dissimilar pairs
};
/// `gradient_scale` [1] f32, when given, multiplies the gradient (loss scaling), not the loss.
WmlLossResult wml_loss(const Tensor& code, const Tensor& labels, const BankView& bank, float alpha,
                       const Tensor& gradient_scale = {});

}  // namespace hh
