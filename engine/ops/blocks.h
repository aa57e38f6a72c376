// SPDX-License-Identifier: Apache-2.0
// From images to patches to blocks, and back. What holds for all ops: linear.h.
#pragma once
#include <span>

#include "engine/ops/layer_norm.h"
#include "engine/tensor/parameter.h"
#include "engine/tensor/tensor.h"
#include "kernels/input/patchify.h"

namespace hh {

/// f32 images [B, C, S, S] to patch rows [B*(S/p)^2, C*p*p] of type `dtype`. input/patchify.h
Tensor patchify(const Tensor& images, const PatchShape& shape, DType dtype);

/// u8 images [B, S, S, C], where `device` reads them until it has done what was queued, to normalised
/// patch rows. Not differentiable. input/patchify.h
Tensor patchify_pixels(const std::uint8_t* pixels, Device device, const PatchShape& shape,
                       std::span<const float> mean, std::span<const float> std, DType dtype);

/// Image [B, h, h, C] -> blocks [B, T, N, C] plus position embedding `pos` [T, N, C], and its
/// LayerNorm; T = grid^2. blockify/blockify_layer_norm.h
ResidualPair blockify_layer_norm(const Tensor& x, const Parameter& pos, const NormParameters& norm,
                                 int grid);

/// Blocks [B, T, N, C] plus the last branch -> image [B, h, h, C]. blockify/deblockify_residual.h
Tensor deblockify_residual(const Tensor& z, const Tensor& branch, const Parameter& bias,
                           const Tensor& image_scale);

}  // namespace hh
