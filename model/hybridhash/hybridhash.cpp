// SPDX-License-Identifier: Apache-2.0
#include "model/hybridhash/hybridhash.h"

#include "engine/device/profiler.h"
#include "engine/ops/blocks.h"
#include "engine/ops/interaction.h"
#include "engine/ops/linear.h"
#include "engine/tensor/tape.h"
#include "model/hybridhash/interaction.h"
#include "model/hybridhash/stages.h"
#include "model/hybridhash/transformer_layer.h"

namespace hh {

using enum Initialisation;

struct HybridHash::Level {
  std::unique_ptr<InteractionModule> interaction;  // none before level 0
  const Parameter* pos = nullptr;
  std::vector<std::unique_ptr<TransformerLayer>> layers;
};

struct HybridHash::HashLayer {
  const Parameter &convs1_weight, &convs1_bias, &convs2_weight, &convs2_bias;
  InteractionAttention attention;
  const Parameter &conv2_weight, &conv2_bias;
};

Recompute recompute_named(const std::string& name) {
  if (name == "none") return Recompute::kNone;
  if (name == "mlp") return Recompute::kMlp;
  if (name == "layer") return Recompute::kLayer;
  throw std::invalid_argument("recompute '" + name + "': use none, mlp or layer");
}

HybridHash::HybridHash(const HybridHashConfig& config, Parameters& parameters) : config_(config) {
  config.validate();
  const auto at = [](const std::array<int, 3>& values, int l) { return values[std::size_t(l)]; };
  patch_weight_ =
      &parameters.add("patch_embed.proj.weight",
                      {config.dims[0], config.in_channels, config.patch, config.patch}, kNormal);
  patch_bias_ = &parameters.add("patch_embed.proj.bias", {config.dims[0]}, kZero);
  int index = 0;
  for (int l = 0; l < HybridHashConfig::kLevels; ++l) {
    const std::string prefix = "levels." + std::to_string(l) + ".";
    const int grid = HybridHashConfig::blocks_per_side(l), channels = at(config.dims, l);
    auto level = std::make_unique<Level>();
    level->pos = &parameters.add(prefix + "pos_embed",
                                 {1, grid * grid, config.block_tokens(), channels}, kNormal);
    if (l > 0) {
      level->interaction = std::make_unique<InteractionModule>(
          prefix + "pool.", at(config.dims, l - 1), channels, 2 * grid, parameters);
    }
    for (int j = 0; j < at(config.depths, l); ++j) {
      level->layers.push_back(std::make_unique<TransformerLayer>(
          prefix + "transformer_encoder." + std::to_string(j) + ".", index++, channels,
          at(config.heads, l), config.block_tokens(), parameters));
    }
    levels_.push_back(std::move(level));
  }
  const int c = config.dims[2];
  norm_ = std::make_unique<NormParameters>(NormParameters{parameters.add("norm.weight", {c}, kOne),
                                                          parameters.add("norm.bias", {c}, kZero)});
  const std::string prefix = "hashlayer_train.";
  const Parameter& s1w = parameters.add(prefix + "convS1.weight", {c, c, 1, 3}, kNormal);
  const Parameter& s1b = parameters.add(prefix + "convS1.bias", {c}, kZero);
  const Parameter& s2w = parameters.add(prefix + "convS2.weight", {c, c, 3, 1}, kNormal);
  const Parameter& s2b = parameters.add(prefix + "convS2.bias", {c}, kZero);
  InteractionAttention attention(prefix + "global_attention.", c, 1, parameters);
  hash_ = std::make_unique<HashLayer>(
      HashLayer{s1w, s1b, s2w, s2b, attention,
                parameters.add(prefix + "conv2.weight", {config.bits, c, 1, 1}, kNormal),
                parameters.add(prefix + "conv2.bias", {config.bits}, kZero)});
}

HybridHash::~HybridHash() = default;

PatchShape HybridHash::patch_shape(int images) const {
  return {.images = images,
          .channels = config_.in_channels,
          .size = config_.image_size,
          .patch = config_.patch};
}

std::vector<float> HybridHash::drop_path_rates() const {
  const int layers = config_.layers();
  std::vector<float> rates;
  for (int i = 0; i < layers; ++i) {
    const float rate = layers > 1 ? config_.drop_path * float(i) / float(layers - 1) : 0;
    rates.insert(rates.end(), 2, rate);
  }
  return rates;
}

HashCode HybridHash::forward(const Tensor& patch_rows, const ForwardOptions& options) const {
  Probe* const probe = options.probe;
  const std::int64_t g = config_.grid(), images = patch_rows.dim(0) / (g * g);
  const UseLayer embedding({.layer = "patch_embed"});
  Tensor x =
      linear(patch_rows, *patch_weight_, patch_bias_).reshaped({images, g, g, config_.dims[0]});
  stages::see_image(probe, "patch_embed", x);

  Tensor features;  // after the final norm, [B, b, b, C2]
  for (int l = 0; l < HybridHashConfig::kLevels; ++l) {
    const Level& level = *levels_[std::size_t(l)];
    const std::string name = "level" + std::to_string(l);
    const int grid = HybridHashConfig::blocks_per_side(l);
    const UseLayer entrance({.layer = name + ".in"});
    if (level.interaction) x = level.interaction->forward(x, name + ".im", options);
    ResidualPair stream = blockify_layer_norm(x, *level.pos, level.layers.front()->norm1(), grid);
    const Shape image = x.shape();
    x = Tensor();
    stages::see(probe, name + ".tokens_in", stream.z);

    for (std::size_t j = 0; j < level.layers.size(); ++j) {
      const TransformerLayer& layer = *level.layers[j];
      const std::string stage = name + ".layer" + std::to_string(j);
      const UseLayer current({.layer = stage});
      // NOLINTNEXTLINE(bugprone-use-after-move): each round gives a new one below
      const TransformerLayer::Open open = layer.forward(std::move(stream), stage, options);
      const Tensor scale = layer.branch_scale(options);
      if (j + 1 < level.layers.size()) {
        stream = residual_layer_norm(open.z, open.branch, layer.branch_bias(), scale,
                                     level.layers[j + 1]->norm1());
        stages::see(probe, stage + ".out", stream.z);
      } else if (l + 1 < HybridHashConfig::kLevels) {
        x = deblockify_residual(open.z, open.branch, layer.branch_bias(), scale);
        if (probe) probe->see(stage + ".out", stages::blockified(x, grid), {});
        stages::see_image(probe, name + ".out", x);
      } else {
        // One block: its token order is the image's, so the final norm needs no deblockify.
        const ResidualPair last =
            residual_layer_norm(open.z, open.branch, layer.branch_bias(), scale, *norm_);
        stages::see(probe, stage + ".out", last.z);
        stages::see_image(probe, name + ".out", last.z.reshaped(image));
        features = last.y.reshaped(image);
      }
    }
  }
  stages::see(probe, "norm_nhwc", features);
  return hash_layer(features, options);
}

HashCode HybridHash::hash_layer(const Tensor& features, const ForwardOptions& options) const {
  Probe* const probe = options.probe;
  const HashLayer& hash = *hash_;
  const UseLayer current({.layer = "hash"});
  // Before the convolution, whose input gradient then comes first and is added to in place.
  const Tensor pooled = block_average_pool(features, 1);
  const Tensor first = conv2d(features, hash.convs1_weight, hash.convs1_bias);
  stages::see_image(probe, "hash.convS1", first);
  const Tensor local = conv2d(first, hash.convs2_weight, hash.convs2_bias);
  stages::see_image(probe, "hash.local", local);
  stages::see_image(probe, "hash.pool_glo", pooled);
  const Tensor glob = hash.attention.forward(pooled, "hash", options);
  if (probe) {
    const Recording none(nullptr);
    const Tensor enlarged = stages::upsampled(glob, int(local.dim(1)));
    const Tensor sum = stages::sum(local, enlarged);
    const Tensor top = stages::max_pooled(sum);
    stages::see_image(probe, "hash.global", enlarged);
    stages::see_image(probe, "hash.sum", sum);
    stages::see_image(probe, "hash.maxpool", top);
    stages::see_image(probe, "hash.conv2", linear(top, hash.conv2_weight, &hash.conv2_bias));
  }
  const HashCode out = hash_head(hash_pool(local, glob), hash.conv2_weight, hash.conv2_bias);
  stages::see(probe, "hash.logits", out.logits);
  stages::see(probe, "code", out.code);
  return out;
}

}  // namespace hh
