// SPDX-License-Identifier: Apache-2.0
// The residual stream and its LayerNorm. What holds for all ops: linear.h.
#pragma once
#include "engine/tensor/parameter.h"
#include "engine/tensor/tensor.h"

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
  Tensor y;  // LayerNorm of it
};

/// z = residual + image_scale * (branch + bias), y = LayerNorm(z). Rows are [B * rows per image,
/// C]. `image_scale` [B] f32 may be empty. In inference z takes the memory of a `residual` that no
/// other Tensor shares. layer_norm/residual_layer_norm.h
ResidualPair residual_layer_norm(const Tensor& residual, const Tensor& branch,
                                 const Parameter& bias, const Tensor& image_scale,
                                 const NormParameters& norm);

}  // namespace hh
