// SPDX-License-Identifier: Apache-2.0
// Stages that the reference has and our fused kernels never form (a branch with its bias, an
// upsampled map, a sum before its LayerNorm): computed here from their inputs, for probes only.
#pragma once
#include <string>

#include "engine/ops/layer_norm.h"
#include "engine/tensor/parameter.h"
#include "model/hybridhash/probe.h"

namespace hh::stages {

inline void see(Probe* probe, const std::string& stage, const Tensor& value,
                StageLayout layout = StageLayout::kChannelsLast) {
  if (probe != nullptr) probe->see(stage, value, layout);
}
inline void see_image(Probe* probe, const std::string& stage, const Tensor& value) {
  see(probe, stage, value, StageLayout::kChannelsFirst);
}

/// branch + bias, without the residual stream.
Tensor with_bias(const Tensor& branch, const Parameter& bias);
/// Image [B, h, h, C] in block order [B, T, N, C].
Tensor blockified(const Tensor& image, int grid);
/// Bilinear enlargement of [B, m, m, C] by `factor`, align_corners = false
/// (docs/specification.md, section 1).
Tensor upsampled(const Tensor& map, int factor);
Tensor sum(const Tensor& a, const Tensor& b);
Tensor layer_norm(const Tensor& x, const NormParameters& norm);
/// 3x3 maximum, stride 2, padding 1, of [B, s, s, C].
Tensor max_pooled(const Tensor& x);

}  // namespace hh::stages
