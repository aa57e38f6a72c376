// SPDX-License-Identifier: Apache-2.0
// A ladder is one op in numbered versions, from the naive one to the product's. Each version, a
// rung, is a file with one idea more than the one before. Rungs take the op's own arguments, and
// only what the ladder needs of its generality: the top of each list says what.
#pragma once
#include <cstddef>
#include <vector>

#include "kernels/attention/window_attention.h"
#include "kernels/layer_norm/residual_layer_norm.h"
#include "kernels/linear/linear_gelu.h"
#include "kernels/loss/wml_loss.h"

namespace hh::ladder {

using LayerNorm = ResidualLayerNormForward<bf16>;
using LayerNormBackward = ResidualLayerNormBackward<bf16>;
using Attention = WindowAttentionForward<bf16>;
using LinearGelu = LinearGeluForward<bf16>;
using Loss = WmlLoss<float>;

template <class Args>
struct Rung {
  const char* name;  // the file's, without the op
  void (*run)(const Args&, StreamHandle);
  std::size_t (*workspace_bytes)(const Args&) = nullptr;  // null: none
};

/// All but the last, which is the product's kernel. cols: a multiple of 8, at most 512; no array is
/// null.
std::vector<Rung<LayerNorm>> layer_norm_rungs();
/// As layer_norm_rungs.
std::vector<Rung<LayerNormBackward>> layer_norm_backward_rungs();
/// head_dim: 32.
std::vector<Rung<Attention>> attention_rungs();
/// in and hidden: multiples of 8; no array is null, all begin at multiples of 16 bytes.
std::vector<Rung<LinearGelu>> linear_gelu_rungs();
/// bits: 32 or 64; du is wanted and gradient_scale is null.
std::vector<Rung<Loss>> wml_loss_rungs();

}  // namespace hh::ladder
