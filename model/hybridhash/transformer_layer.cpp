// SPDX-License-Identifier: Apache-2.0
#include "model/hybridhash/transformer_layer.h"

#include <functional>

#include "engine/ops/attention.h"
#include "engine/ops/linear.h"
#include "engine/tensor/tape.h"
#include "model/hybridhash/stages.h"

namespace hh {

using enum Initialisation;

TransformerLayer::TransformerLayer(const std::string& prefix, int index, int channels, int heads,
                                   int tokens, Parameters& parameters)
    : index_(index),
      heads_(heads),
      tokens_(tokens),
      norm1_{parameters.add(prefix + "norm1.weight", {channels}, kOne),
             parameters.add(prefix + "norm1.bias", {channels}, kZero)},
      qkv_weight_(parameters.add(prefix + "attn.qkv.weight", {3 * channels, channels}, kNormal)),
      qkv_bias_(parameters.add(prefix + "attn.qkv.bias", {3 * channels}, kZero)),
      proj_weight_(parameters.add(prefix + "attn.proj.weight", {channels, channels}, kNormal)),
      proj_bias_(parameters.add(prefix + "attn.proj.bias", {channels}, kZero)),
      norm2_{parameters.add(prefix + "norm2.weight", {channels}, kOne),
             parameters.add(prefix + "norm2.bias", {channels}, kZero)},
      fc1_weight_(parameters.add(prefix + "mlp.fc1.weight", {4 * channels, channels}, kNormal)),
      fc1_bias_(parameters.add(prefix + "mlp.fc1.bias", {4 * channels}, kZero)),
      fc2_weight_(parameters.add(prefix + "mlp.fc2.weight", {channels, 4 * channels}, kNormal)),
      fc2_bias_(parameters.add(prefix + "mlp.fc2.bias", {channels}, kZero)) {}

Tensor TransformerLayer::scale(const ForwardOptions& options, int branch) const {
  // Layer 0 has rate 0 by construction: its branches are never dropped.
  if (!options.drop_path || index_ == 0) return {};
  const std::int64_t images = options.drop_path.dim(1);
  return options.drop_path.part((2 * index_ + branch) * images, {images});
}

TransformerLayer::Open TransformerLayer::compute(ResidualPair in, const std::string& stage,
                                                 const ForwardOptions& options) const {
  // Tensors are dropped after their last use: in inference that gives their memory back.
  Probe* const probe = options.probe;
  stages::see(probe, stage + ".norm1", in.y);
  Tensor qkv = linear(in.y, qkv_weight_, &qkv_bias_);
  in.y = {};
  stages::see(probe, stage + ".qkv", qkv);
  Tensor heads = window_attention(qkv, tokens_, heads_);
  qkv = {};
  stages::see(probe, stage + ".attn_heads", heads);
  Tensor attn = linear(heads, proj_weight_, nullptr);
  heads = {};
  if (probe) probe->see(stage + ".attn", stages::with_bias(attn, proj_bias_), {});
  ResidualPair mid = residual_layer_norm(in.z, attn, proj_bias_, scale(options, 0), norm2_);
  in.z = attn = {};
  stages::see(probe, stage + ".norm2", mid.y);
  std::function<void(const Tensor&)> see;
  if (probe) see = [&](const Tensor& hidden) { probe->see(stage + ".mlp_hidden", hidden, {}); };
  const Tensor branch =
      mlp(std::move(mid.y), fc1_weight_, fc1_bias_, fc2_weight_,
          options.recompute == Recompute::kMlp ? KeepHidden::kNo : KeepHidden::kYes, see);
  if (probe) probe->see(stage + ".mlp", stages::with_bias(branch, fc2_bias_), {});
  return {mid.z, branch};
}

TransformerLayer::Open TransformerLayer::forward(ResidualPair in, const std::string& stage,
                                                 const ForwardOptions& options) const {
  if (options.recompute != Recompute::kLayer) return compute(std::move(in), stage, options);
  const std::vector<Tensor> out = recomputed(
      [this, stage, drop_path = options.drop_path](const std::vector<Tensor>& inputs) {
        const Open open = compute({inputs[0], inputs[1]}, stage, {.drop_path = drop_path});
        return std::vector<Tensor>{open.z, open.branch};
      },
      {in.z, in.y});
  return {out[0], out[1]};
}

}  // namespace hh
