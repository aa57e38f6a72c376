// SPDX-License-Identifier: Apache-2.0
#include "model/hybridhash/interaction.h"

#include "engine/ops/attention.h"
#include "engine/ops/interaction.h"
#include "engine/ops/linear.h"
#include "engine/tensor/tape.h"
#include "model/hybridhash/stages.h"

namespace hh {

using enum Initialisation;

InteractionAttention::InteractionAttention(const std::string& prefix, int channels, int side,
                                           Parameters& parameters)
    : pos_(parameters.add(prefix + "pos_embed_glo", {1, side * side, channels}, kZero)),
      qkv_weight_(parameters.add(prefix + "qkv.weight", {3 * channels, channels}, kNormal)),
      proj_weight_(parameters.add(prefix + "proj.weight", {channels, channels}, kNormal)),
      proj_bias_(parameters.add(prefix + "proj.bias", {channels}, kZero)) {}

Tensor InteractionAttention::forward(const Tensor& z, const std::string& stage,
                                     const ForwardOptions& options) const {
  const int tokens = int(z.dim(1) * z.dim(2));
  const Tensor qkv = linear(interaction_tokens(z, pos_), qkv_weight_, nullptr);
  const Tensor heads = window_attention(qkv, tokens, HybridHashConfig::kInteractionHeads);
  stages::see(options.probe, stage + ".glo_attn_heads", heads);
  const Tensor out = linear(heads, proj_weight_, &proj_bias_).reshaped(z.shape());
  stages::see(options.probe, stage + ".glo_attn_nhwc", out);
  return out;
}

InteractionModule::InteractionModule(const std::string& prefix, int in_channels, int out_channels,
                                     int side, Parameters& parameters)
    : side_(side),
      conv_weight_(
          parameters.add(prefix + "conv.weight", {out_channels, in_channels, 3, 3}, kNormal)),
      conv_bias_(parameters.add(prefix + "conv.bias", {out_channels}, kZero)),
      conv_glo_weight_(
          parameters.add(prefix + "conv_glo.weight", {out_channels, in_channels, 1, 1}, kNormal)),
      attention_(prefix + "global_attention.", out_channels, side, parameters),
      norm_{parameters.add(prefix + "norm.weight", {out_channels}, kOne),
            parameters.add(prefix + "norm.bias", {out_channels}, kZero)} {}

Tensor InteractionModule::forward(const Tensor& x, const std::string& stage,
                                  const ForwardOptions& options) const {
  Probe* const probe = options.probe;
  if (probe) {
    const Recording none(nullptr);
    stages::see_image(probe, stage + ".conv_glo", linear(x, conv_glo_weight_, nullptr));
  }
  const Tensor pooled = linear(block_average_pool(x, side_), conv_glo_weight_, nullptr);
  stages::see_image(probe, stage + ".pool_glo", pooled);
  const Tensor glob = attention_.forward(pooled, stage, options);
  const Tensor local = conv2d(x, conv_weight_, conv_bias_);
  stages::see_image(probe, stage + ".local", local);
  if (probe) {
    const Tensor enlarged = stages::upsampled(glob, int(local.dim(1)) / side_);
    const Tensor sum = stages::sum(local, enlarged);
    stages::see_image(probe, stage + ".global", enlarged);
    stages::see(probe, stage + ".sum_nhwc", sum);
    stages::see(probe, stage + ".norm_nhwc", stages::layer_norm(sum, norm_));
  }
  const Tensor out = interaction_merge(local, glob, norm_);
  stages::see_image(probe, stage + ".out", out);
  return out;
}

}  // namespace hh
