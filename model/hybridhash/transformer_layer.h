// SPDX-License-Identifier: Apache-2.0
// One transformer layer of a level (docs/specification.md, section 1). Its two residual additions
// are fused with the LayerNorms that follow them, so a layer takes the normalised stream and leaves
// its last branch open: whoever comes next (the next layer's norm1, deblockify, the final norm)
// adds it.
#pragma once
#include <string>

#include "engine/ops/layer_norm.h"
#include "engine/tensor/parameter.h"
#include "model/hybridhash/hybridhash.h"

namespace hh {

class TransformerLayer {
 public:
  /// `prefix` is "levels.L.transformer_encoder.J."; `index` counts layers over all levels.
  TransformerLayer(const std::string& prefix, int index, int channels, int heads, int tokens,
                   Parameters& parameters);

  /// A residual stream [B, T, N, C] and the branch still to be added: z + scale * (branch + bias).
  struct Open {
    Tensor z;
    Tensor branch;
  };
  Open forward(ResidualPair in, const std::string& stage, const ForwardOptions& options) const;

  const NormParameters& norm1() const { return norm1_; }
  const Parameter& branch_bias() const { return fc2_bias_; }
  /// The drop-path scale [B] of the open branch; empty when nothing is ever dropped there.
  Tensor branch_scale(const ForwardOptions& options) const { return scale(options, 1); }

 private:
  Tensor scale(const ForwardOptions& options, int branch) const;
  Open compute(ResidualPair in, const std::string& stage, const ForwardOptions& options) const;

  int index_, heads_, tokens_;
  NormParameters norm1_;
  const Parameter &qkv_weight_, &qkv_bias_, &proj_weight_, &proj_bias_;
  NormParameters norm2_;
  const Parameter &fc1_weight_, &fc1_bias_, &fc2_weight_, &fc2_bias_;
};

}  // namespace hh
