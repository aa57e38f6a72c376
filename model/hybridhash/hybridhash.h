// SPDX-License-Identifier: Apache-2.0
// The HybridHash network (docs/specification.md, section 1): patch embedding, three levels of
// block-wise transformer layers with interaction modules between them, and the hash layer.
//
// Two linear steps are reordered where that saves work and changes only rounding: the interaction
// module pools before its 1x1 convolution, and the hash layer averages before its own.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine/ops/hash.h"
#include "engine/ops/layer_norm.h"
#include "engine/tensor/parameter.h"
#include "kernels/input/patchify.h"
#include "model/hybridhash/config.h"
#include "model/hybridhash/probe.h"

namespace hh {

/// What a training step computes again in backward rather than keep: nothing, the hidden layers of
/// the MLPs (a ninth more work, nearly half of the activations less), or whole transformer layers
/// (a third more work, all but their inputs).
enum class Recompute { kNone, kMlp, kLayer };

/// "none", "mlp", "layer". Throws std::invalid_argument for other words.
Recompute recompute_named(const std::string& name);

/// What a forward pass may be told.
struct ForwardOptions {
  Tensor drop_path;  // [2 * layers, B] scales (random/drop_path_scale.h); empty: none
  Recompute recompute = Recompute::kNone;
  Probe* probe = nullptr;
};

class TransformerLayer;
class InteractionAttention;
class InteractionModule;

class HybridHash {
 public:
  /// Declares its parameters, under the reference's names and in its order; the caller places them.
  HybridHash(const HybridHashConfig& config, Parameters& parameters);
  ~HybridHash();
  HybridHash(const HybridHash&) = delete;
  HybridHash& operator=(const HybridHash&) = delete;

  const HybridHashConfig& config() const { return config_; }
  PatchShape patch_shape(int images) const;

  /// Patch rows [B*g*g, Cin*p*p] (ops/blocks.h: patchify, patchify_pixels) to logits and codes [B, K].
  HashCode forward(const Tensor& patch_rows, const ForwardOptions& options = {}) const;

  /// Drop-path rate of each residual branch, [2 * layers]: layer j's attention and MLP branch are
  /// 2j and 2j+1. Rises linearly from 0 over all layers (docs/specification.md, section 3).
  std::vector<float> drop_path_rates() const;

 private:
  struct Level;
  struct HashLayer;
  HashCode hash_layer(const Tensor& features, const ForwardOptions& options) const;

  HybridHashConfig config_;
  const Parameter* patch_weight_;
  const Parameter* patch_bias_;
  std::vector<std::unique_ptr<Level>> levels_;
  std::unique_ptr<NormParameters> norm_;
  std::unique_ptr<HashLayer> hash_;
};

}  // namespace hh
