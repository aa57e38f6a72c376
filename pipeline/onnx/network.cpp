// SPDX-License-Identifier: Apache-2.0
#include "pipeline/onnx/network.h"

#include <cmath>

namespace hh::pipeline {
namespace {

using Ints = std::vector<std::int64_t>;
using Names = std::vector<std::string>;
using Attributes = std::vector<OnnxAttribute>;
constexpr int kGeluOpset = 20;  // the first with Gelu; before it, its formula

/// A weight on the host: [shape], the last axis fastest.
struct Array {
  Ints shape;
  std::vector<float> values;
};

/// [r, c] to [c, r].
Array transposed(const Array& a) {
  const auto rows = std::size_t(a.shape[0]), columns = std::size_t(a.shape[1]);
  Array t{{a.shape[1], a.shape[0]}, std::vector<float>(a.values.size())};
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < columns; ++c) {
      t.values[c * rows + r] = a.values[r * columns + c];
    }
  }
  return t;
}

/// Nodes and constants. Images are channels first here, tokens [n, tokens, channels]. A value is
/// named by what it is, and a method returns the name of its result.
class Builder {
 public:
  Builder(const Model& model, const OnnxOptions& options)
      : c_(model.info.config), transform_(model.info.transform), parameters_(model.parameters) {
    graph.opset = options.opset;
  }

  OnnxGraph graph;

  std::string network(const std::string& inputs);
  /// The signs of the outputs as packed bytes.
  void pack(const std::string& outputs);

 private:
  std::string normalised(const std::string& pixels);
  std::string level(std::string x, int l);
  std::string layer(const std::string& x, const std::string& prefix, int dim, int heads);
  std::string attention(const std::string& x, const std::string& prefix, int dim, int heads);
  std::string interaction(const std::string& x, const std::string& prefix, int side, int dim);
  std::string hash_layer(const std::string& x);
  std::string gelu(const std::string& x, const std::string& name);

  /// x W^T, plus the bias where there is one.
  std::string linear(const std::string& x, const std::string& name, const Array& weight) {
    const Array t = transposed(weight);
    const std::string product =
        node("MatMul", {x, constant(name + ".weight_transposed", t)}, name + ".product");
    if (parameters_.find(name + ".bias") == nullptr) return product;
    return node("Add", {product, weight_of(name + ".bias")}, name);
  }
  std::string linear(const std::string& x, const std::string& name) {
    return linear(x, name, array(name + ".weight"));
  }
  std::string conv(const std::string& x, const std::string& name, Attributes attributes) {
    const Shape& shape = parameters_.find(name + ".weight")->shape();
    attributes.insert(attributes.begin(), {"kernel_shape", Ints{shape[2], shape[3]}});
    Names inputs{x, weight_of(name + ".weight")};
    if (parameters_.find(name + ".bias") != nullptr) inputs.push_back(weight_of(name + ".bias"));
    return node("Conv", std::move(inputs), name, std::move(attributes));
  }
  std::string layer_norm(const std::string& x, const std::string& name) {
    return node("LayerNormalization", {x, weight_of(name + ".weight"), weight_of(name + ".bias")},
                name, {{"axis", std::int64_t{-1}}, {"epsilon", 1e-6f}});
  }
  std::string max_pool(const std::string& x, const std::string& name) {
    return node(
        "MaxPool", {x}, name,
        {{"kernel_shape", Ints{3, 3}}, {"pads", Ints{1, 1, 1, 1}}, {"strides", Ints{2, 2}}});
  }
  std::string transpose(const std::string& x, const std::string& name, Ints order) {
    return node("Transpose", {x}, name, {{"perm", std::move(order)}});
  }
  /// 0 keeps an axis, -1 is whatever remains: so any batch fits.
  std::string reshape(const std::string& x, const Ints& shape, const std::string& name) {
    std::string wanted = "shape";
    for (const std::int64_t extent : shape) wanted += "_" + std::to_string(extent);
    return node("Reshape", {x, constant(wanted, shape)}, name);
  }
  std::string node(const char* op, Names inputs, const std::string& name,
                   Attributes attributes = {}) {
    graph.nodes.push_back({op, std::move(inputs), {name}, std::move(attributes)});
    return name;
  }

  Array array(const std::string& name) const {
    const Parameter& parameter = *parameters_.find(name);
    return {parameter.shape().to_vector(), parameter.weight().to_host<float>()};
  }
  /// proj.weight with its columns head after head: the reference's channel c is e * heads + head.
  Array by_heads(const std::string& prefix, int dim, int heads) const {
    const Array from = array(prefix + "proj.weight");
    Array to = from;
    const auto width = std::size_t(dim), h = std::size_t(heads), channels = width / h;
    for (std::size_t i = 0; i < to.values.size(); ++i) {
      const std::size_t row = i / width, column = i % width;
      to.values[i] = from.values[row * width + column % channels * h + column / channels];
    }
    return to;
  }
  std::string weight_of(const std::string& name) { return constant(name, array(name)); }
  std::string constant(const std::string& name, Array value) {
    graph.constants[name] = {std::move(value.shape), std::move(value.values)};
    return name;
  }
  std::string constant(const std::string& name, const Ints& values) {
    graph.constants[name] = {{std::int64_t(values.size())}, values};
    return name;
  }
  std::string number(const std::string& name, float value) {
    graph.constants[name] = {{}, std::vector<float>{value}};
    return name;
  }

  const HybridHashConfig& c_;
  const data::TransformSpec& transform_;
  const Parameters& parameters_;
};

std::string Builder::network(const std::string& inputs) {
  std::string x = inputs == "pixels" ? normalised(inputs) : inputs;
  x = conv(x, "patch_embed.proj", {{"strides", Ints{c_.patch, c_.patch}}});
  for (int l = 0; l < HybridHashConfig::kLevels; ++l) x = level(x, l);
  x = layer_norm(x, "norm");  // one block: its token order is the image's
  x = transpose(x, "norm.channels", {0, 2, 1});
  return hash_layer(reshape(x, {0, c_.dims[2], c_.block_side(), c_.block_side()}, "norm.image"));
}

/// (pixel / 255 - mean) / std in the program's order of operations, so with its bits.
std::string Builder::normalised(const std::string& pixels) {
  Array scale{{c_.in_channels}, {}}, shift{{c_.in_channels}, {}};
  for (std::size_t c = 0; c < std::size_t(c_.in_channels); ++c) {
    scale.values.push_back(1.0f / (255.0f * transform_.std[c]));
    shift.values.push_back(transform_.mean[c] / transform_.std[c]);
  }
  std::string x = node("Cast", {pixels}, "pixels.float", {{"to", std::int64_t(OnnxType::kFloat)}});
  x = node("Mul", {x, constant("pixels.scale", scale)}, "pixels.scaled");
  x = node("Sub", {x, constant("pixels.shift", shift)}, "pixels.normalised");
  return transpose(x, "pixels.channels_first", {0, 3, 1, 2});
}

/// An image to an image, but from the last level tokens.
std::string Builder::level(std::string x, int l) {
  const std::string prefix = "levels." + std::to_string(l) + ".";
  const auto at = [l](const std::array<int, 3>& values) { return values[std::size_t(l)]; };
  const std::int64_t grid = HybridHashConfig::blocks_per_side(l), b = c_.block_side();
  const int dim = at(c_.dims);
  if (l > 0) x = interaction(x, prefix + "pool.", 2 * int(grid), dim);
  x = reshape(x, {0, dim, grid, b, grid, b}, prefix + "split");
  x = transpose(x, prefix + "blocks", {0, 2, 4, 3, 5, 1});
  x = reshape(x, {-1, grid * grid, b * b, dim}, prefix + "blockify");
  x = node("Add", {x, weight_of(prefix + "pos_embed")}, prefix + "tokens");
  // A block is a row: all are alike to a layer.
  x = reshape(x, {-1, b * b, dim}, prefix + "tokens_in");
  for (int j = 0; j < at(c_.depths); ++j) {
    x = layer(x, prefix + "transformer_encoder." + std::to_string(j) + ".", dim, at(c_.heads));
  }
  if (l == HybridHashConfig::kLevels - 1) return x;
  x = reshape(x, {-1, grid, grid, b, b, dim}, prefix + "join");
  x = transpose(x, prefix + "image", {0, 5, 1, 3, 2, 4});
  return reshape(x, {-1, dim, grid * b, grid * b}, prefix + "deblockify");
}

/// x + attn(norm1(x)), and that plus mlp(norm2(that)).
std::string Builder::layer(const std::string& x, const std::string& prefix, int dim, int heads) {
  const std::string attended =
      attention(layer_norm(x, prefix + "norm1"), prefix + "attn.", dim, heads);
  const std::string sum = node("Add", {x, attended}, prefix + "attended");
  std::string hidden = linear(layer_norm(sum, prefix + "norm2"), prefix + "mlp.fc1");
  hidden = linear(gelu(hidden, prefix + "mlp.gelu"), prefix + "mlp.fc2");
  return node("Add", {sum, hidden}, prefix + "out");
}

/// Softmax attention over the tokens of each row. Heads lie one after the other here, and proj's
/// columns are put in that order.
std::string Builder::attention(const std::string& x, const std::string& prefix, int dim,
                               int heads) {
  const std::int64_t channels = dim / heads;
  graph.nodes.push_back(
      {"Split",
       {linear(x, prefix + "qkv"), constant("thirds_" + std::to_string(dim), Ints{dim, dim, dim})},
       {prefix + "q", prefix + "k", prefix + "v"},
       {{"axis", std::int64_t{-1}}}});
  const auto by_head = [&](const std::string& part, Ints order) {
    const std::string split =
        reshape(prefix + part, {0, 0, heads, channels}, prefix + part + ".split");
    return transpose(split, prefix + part + ".heads", std::move(order));
  };
  const std::string q = by_head("q", {0, 2, 1, 3}), k = by_head("k", {0, 2, 3, 1}),
                    v = by_head("v", {0, 2, 1, 3});
  const std::string scale = number(prefix + "scale", float(std::pow(double(channels), -0.5)));
  const std::string scaled = node("Mul", {q, scale}, prefix + "q.scaled");
  const std::string scores = node("MatMul", {scaled, k}, prefix + "scores");
  const std::string shares =
      node("Softmax", {scores}, prefix + "shares", {{"axis", std::int64_t{-1}}});
  std::string mixed = node("MatMul", {shares, v}, prefix + "weighted");
  mixed = transpose(mixed, prefix + "weighted.tokens", {0, 2, 1, 3});
  return linear(reshape(mixed, {0, 0, dim}, prefix + "weighted.joined"), prefix + "proj",
                by_heads(prefix, dim, heads));
}

/// x [n, Cin, 2h, 2h] -> [n, dim, h, h]; `side` of the pooled map.
std::string Builder::interaction(const std::string& x, const std::string& prefix, int side,
                                 int dim) {
  const std::int64_t b = c_.block_side();
  const std::string local = conv(x, prefix + "conv", {{"pads", Ints{1, 1, 1, 1}}});
  // Pooled first: a 1x1 convolution without bias commutes with a mean.
  std::string z = node("AveragePool", {x}, prefix + "pooled",
                       {{"kernel_shape", Ints{b, b}}, {"strides", Ints{b, b}}});
  z = conv(z, prefix + "conv_glo", {});
  // The channels-first memory read as tokens, as in the reference: no transposition here.
  z = reshape(z, {0, side * side, dim}, prefix + "glo.tokens");
  z = node("Add", {z, weight_of(prefix + "global_attention.pos_embed_glo")},
           prefix + "glo.tokens_in");
  z = attention(z, prefix + "global_attention.", dim, HybridHashConfig::kInteractionHeads);
  z = transpose(z, prefix + "glo.channels", {0, 2, 1});
  z = reshape(z, {0, dim, side, side}, prefix + "glo.image");
  if (b > 1) {
    const Array scales{{4}, {1, 1, float(b), float(b)}};
    z = node("Resize", {z, "", constant("enlarge", scales)}, prefix + "enlarged",
             {{"mode", std::string("linear")},
              {"coordinate_transformation_mode", std::string("half_pixel")}});
  }
  std::string sum = node("Add", {local, z}, prefix + "sum");
  sum = layer_norm(transpose(sum, prefix + "sum.channels_last", {0, 2, 3, 1}), prefix + "norm");
  return max_pool(transpose(sum, prefix + "norm.image", {0, 3, 1, 2}), prefix + "maxpool");
}

std::string Builder::hash_layer(const std::string& x) {
  const std::string prefix = "hashlayer_train.", attention = prefix + "global_attention.";
  const int dim = c_.dims[2];
  const std::string local = conv(conv(x, prefix + "convS1", {{"pads", Ints{0, 1, 0, 1}}}),
                                 prefix + "convS2", {{"pads", Ints{1, 0, 1, 0}}});
  // Attention among one token: the result is proj of its value, whatever query and key are.
  std::string z = node("GlobalAveragePool", {x}, prefix + "pooled");
  z = reshape(z, {0, dim}, prefix + "glo.token");
  Array position = array(attention + "pos_embed_glo");
  position.shape = {dim};
  z = node("Add", {z, constant(attention + "pos_embed_glo", std::move(position))},
           prefix + "glo.token_in");
  Array value = array(attention + "qkv.weight");
  value.shape[0] = dim;
  value.values.erase(value.values.begin(), value.values.end() - std::ptrdiff_t(dim) * dim);
  z = linear(z, attention + "value", value);
  z = linear(z, attention + "proj", by_heads(attention, dim, HybridHashConfig::kInteractionHeads));
  z = reshape(z, {0, dim, 1, 1}, prefix + "glo.image");
  std::string y = max_pool(node("Add", {local, z}, prefix + "sum"), prefix + "maxpool");
  // The mean first: it commutes with the 1x1 convolution conv2.
  y = reshape(node("GlobalAveragePool", {y}, prefix + "mean"), {0, dim}, prefix + "features");
  Array last = array(prefix + "conv2.weight");
  last.shape = {c_.bits, dim};
  return node("Tanh", {linear(y, prefix + "conv2", last)}, "outputs");
}

std::string Builder::gelu(const std::string& x, const std::string& name) {
  if (graph.opset >= kGeluOpset) return node("Gelu", {x}, name);
  // In the form that runtimes know as one operation: 0.5 * (x * (1 + erf(x / sqrt(2)))).
  const std::string ratio =
      node("Div", {x, number("sqrt_2", float(std::sqrt(2.0)))}, name + ".ratio");
  const std::string erf = node("Erf", {ratio}, name + ".erf");
  const std::string share = node("Add", {erf, number("one", 1)}, name + ".share");
  const std::string twice = node("Mul", {x, share}, name + ".double");
  return node("Mul", {twice, number("half", 0.5f)}, name);
}

void Builder::pack(const std::string& outputs) {
  const auto bits = std::size_t(c_.bits), bytes = (bits + 7) / 8;
  // Sums of distinct powers of two below 256, exact in float32 (and in bfloat16).
  Array powers{{c_.bits, std::int64_t(bytes)}, std::vector<float>(bits * bytes)};
  for (std::size_t j = 0; j < bits; ++j) powers.values[j * bytes + j / 8] = float(1 << j % 8);
  std::string x = node("Greater", {outputs, number("zero", 0)}, "bits");
  x = node("Cast", {x}, "bits.float", {{"to", std::int64_t(OnnxType::kFloat)}});
  x = node("MatMul", {x, constant("bits.powers", powers)}, "bits.bytes");
  node("Cast", {x}, "codes", {{"to", std::int64_t(OnnxType::kUint8)}});
}

}  // namespace

void OnnxOptions::validate() const {
  HH_REQUIRE(batch >= 0 && batch <= 65536,
             "batch = " << batch << ": use 1 to 65536, or 0 for any number");
  HH_REQUIRE(opset >= 17 && opset <= 20, "opset = " << opset << ": use 17 to 20");
  HH_REQUIRE(inputs == "pixels" || inputs == "normalised",
             "inputs = '" << inputs << "': use pixels or normalised");
  HH_REQUIRE(outputs == "both" || outputs == "codes" || outputs == "outputs",
             "outputs = '" << outputs << "': use both, codes or outputs");
}

OnnxGraph network_graph(const Model& model, const OnnxOptions& options) {
  options.validate();
  const HybridHashConfig& c = model.info.config;
  Builder builder(model, options);
  const std::string result = builder.network(options.inputs);
  if (options.outputs != "outputs") builder.pack(result);
  OnnxGraph graph = std::move(builder.graph);
  const std::int64_t n = options.batch == 0 ? OnnxValue::kAnyBatch : options.batch;
  if (options.inputs == "pixels") {
    graph.inputs = {
        {options.inputs, OnnxType::kUint8, {n, c.image_size, c.image_size, c.in_channels}}};
  } else {
    graph.inputs = {
        {options.inputs, OnnxType::kFloat, {n, c.in_channels, c.image_size, c.image_size}}};
  }
  if (options.outputs != "codes") {
    graph.outputs.push_back({"outputs", OnnxType::kFloat, {n, c.bits}});
  }
  if (options.outputs != "outputs") {
    graph.outputs.push_back({"codes", OnnxType::kUint8, {n, (c.bits + 7) / 8}});
  }
  for (const auto& [key, value] : model_metadata(model.info)) {
    if (key != "recipe" && key != "protocol" && key != "format") {
      graph.metadata["hybridhash." + key] = value;
    }
  }
  graph.metadata["hybridhash.weights_sha256"] = weights_sha256(model.parameters);
  graph.metadata["hybridhash.model_hash"] = model.hash;
  return graph;
}

}  // namespace hh::pipeline
