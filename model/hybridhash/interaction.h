// SPDX-License-Identifier: Apache-2.0
// The interaction module between levels and the attention inside it
// (docs/specification.md, section 1).
#pragma once
#include <string>

#include "engine/ops/layer_norm.h"
#include "engine/tensor/parameter.h"
#include "model/hybridhash/hybridhash.h"

namespace hh {

/// Attention over the pooled tokens of a whole image; always 8 heads, whatever the level.
class InteractionAttention {
 public:
  /// `prefix` ends in "global_attention."; `side` is m, the side of the pooled map.
  InteractionAttention(const std::string& prefix, int channels, int side, Parameters& parameters);

  /// z [B, m, m, C] -> [B, m, m, C]
  Tensor forward(const Tensor& z, const std::string& stage, const ForwardOptions& options) const;

 private:
  const Parameter &pos_, &qkv_weight_, &proj_weight_, &proj_bias_;
};

/// x [B, 2h, 2h, Cin] -> [B, h, h, Cout]
class InteractionModule {
 public:
  /// `prefix` is "levels.L.pool."; `side` is m, `factor` the block side b: 2h = m * b.
  InteractionModule(const std::string& prefix, int in_channels, int out_channels, int side,
                    Parameters& parameters);

  Tensor forward(const Tensor& x, const std::string& stage, const ForwardOptions& options) const;

 private:
  int side_;
  const Parameter &conv_weight_, &conv_bias_, &conv_glo_weight_;
  InteractionAttention attention_;
  NormParameters norm_;
};

}  // namespace hh
