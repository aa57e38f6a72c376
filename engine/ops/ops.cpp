// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/ops.h"

#include "engine/device/launch.h"

namespace hh {
namespace {

/// Whether this call leaves a step on the tape. Parameters count through their gradients, so a
/// layer is recorded even when its input is a constant.
bool records(std::initializer_list<const Tensor*> inputs) {
  if (Tape::current() == nullptr) return false;
  for (const Tensor* input : inputs) {
    if (*input && input->gradient()) return true;
  }
  return false;
}
bool records_parameters() { return Tape::current() != nullptr; }

void record(std::function<void()> step) { Tape::current()->record(std::move(step)); }

Tensor like(const Tensor& t) { return Tensor(t.shape(), t.dtype(), t.device()); }
Tensor like(const Tensor& t, Shape shape) { return Tensor(shape, t.dtype(), t.device()); }

template <class T>
const T* data_or_null(const Tensor& t) {
  return t ? t.data<T>() : nullptr;
}

/// `a` if its memory may be overwritten, else `b` if that may, else new memory.
Tensor reusable(const Tensor& a, const Tensor& b) {
  if (a && a.unique()) return a;
  if (b && b.unique()) return b;
  return like(a ? a : b);
}

Shape with_last(const Shape& shape, std::int64_t last) {
  std::vector<std::int64_t> extents = shape.to_vector();
  extents.back() = last;
  return Shape(std::span<const std::int64_t>(extents));
}

}  // namespace

Tensor patchify(const Tensor& images, const PatchShape& shape, DType dtype) {
  const std::int64_t side = shape.size / shape.patch;
  Tensor rows({shape.images * side * side, shape.channels * shape.patch * shape.patch}, dtype,
              images.device());
  with_activation_type(dtype, [&](auto t) {
    using T = decltype(t);
    launch(
        images.device(),
        PatchifyForward<T>{.image = images.data<float>(), .rows = rows.data<T>(), .shape = shape});
    if (!records({&images})) return;
    rows.want_gradient();
    record(
        [images = images.gradient(), like_images = images.shape(), slot = rows.gradient(), shape] {
          const Tensor drows = slot->take();
          if (!drows) return;
          const Tensor dimage(like_images, DType::f32, drows.device());
          launch(drows.device(),
                 PatchifyBackward<T>{
                     .drows = drows.data<T>(), .dimage = dimage.data<float>(), .shape = shape});
          images->add(dimage);
        });
  });
  return rows;
}

Tensor patchify_pixels(const Tensor& pixels, const PatchShape& shape, std::span<const float> mean,
                       std::span<const float> std, DType dtype) {
  assert(int(mean.size()) == shape.channels && int(std.size()) == shape.channels);
  const std::int64_t side = shape.size / shape.patch;
  Tensor rows({shape.images * side * side, shape.channels * shape.patch * shape.patch}, dtype,
              pixels.device());
  with_activation_type(dtype, [&](auto t) {
    using T = decltype(t);
    PatchifyPixels<T> args{
        .pixels = pixels.data<std::uint8_t>(), .rows = rows.data<T>(), .shape = shape};
    std::copy(mean.begin(), mean.end(), args.mean);
    std::copy(std.begin(), std.end(), args.std);
    launch(pixels.device(), args);
  });
  return rows;
}

namespace {

struct LinearSizes {
  LinearSizes(const Tensor& x, const Parameter& weight)
      : in(int(weight.shape().count() / weight.shape()[0])),
        out(int(weight.shape()[0])),
        rows(x.count() / in) {
    assert(x.dim(-1) == in);
  }
  int in, out;
  std::int64_t rows;
};

/// Adds to the gradients of the parameters and of `x`, if it wants one.
void linear_backward(const Tensor& x, const Parameter& weight, const Parameter* bias,
                     const Tensor& dy) {
  const LinearSizes sizes(x, weight);
  with_activation_type(x.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(dy.device(),
           LinearBackwardWeight<T>{.x = x.data<T>(),
                                   .dy = dy.data<T>(),
                                   .dweight = weight.gradient().data<float>(),
                                   .dbias = bias ? bias->gradient().data<float>() : nullptr,
                                   .rows = sizes.rows,
                                   .in = sizes.in,
                                   .out = sizes.out});
    if (!x.gradient()) return;
    const Tensor dx = like(x.detached());
    launch(dy.device(), LinearBackwardInput<T>{.dy = dy.data<T>(),
                                               .weight = weight.compute().data<T>(),
                                               .dx = dx.data<T>(),
                                               .rows = sizes.rows,
                                               .in = sizes.in,
                                               .out = sizes.out});
    x.gradient()->add(dx);
  });
}

}  // namespace

Tensor linear(const Tensor& x, const Parameter& weight, const Parameter* bias) {
  const LinearSizes sizes(x, weight);
  Tensor y = like(x, with_last(x.shape(), sizes.out));
  with_activation_type(x.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(x.device(), LinearForward<T>{.x = x.data<T>(),
                                        .weight = weight.compute().data<T>(),
                                        .bias = bias ? bias->weight().data<float>() : nullptr,
                                        .y = y.data<T>(),
                                        .rows = sizes.rows,
                                        .in = sizes.in,
                                        .out = sizes.out});
    if (!records_parameters()) return;
    y.want_gradient();
    record([x, &weight, bias, slot = y.gradient()] {
      const Tensor dy = slot->take();
      if (dy) linear_backward(x, weight, bias, dy);
    });
  });
  return y;
}

Tensor bias_gelu(const Tensor& x, const Parameter& bias) {
  const int cols = int(x.dim(-1));
  const std::int64_t rows = x.count() / cols;
  // In inference the hidden layer, the widest tensor of the network, is overwritten in place.
  Tensor y = records_parameters() ? like(x) : x.detached();
  with_activation_type(x.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(x.device(), BiasGeluForward<T>{.x = x.data<T>(),
                                          .bias = bias.weight().data<float>(),
                                          .y = y.data<T>(),
                                          .rows = rows,
                                          .cols = cols});
    if (!records_parameters()) return;
    y.want_gradient();
    record([x, &bias, slot = y.gradient(), rows, cols] {
      const Tensor dy = slot->take();
      if (!dy) return;
      const Tensor dx = reusable(dy, Tensor());
      launch(dy.device(), BiasGeluBackward<T>{.x = x.data<T>(),
                                              .bias = bias.weight().data<float>(),
                                              .dy = dy.data<T>(),
                                              .dx = dx.data<T>(),
                                              .dbias = bias.gradient().data<float>(),
                                              .rows = rows,
                                              .cols = cols});
      if (x.gradient()) x.gradient()->add(dx);
    });
  });
  return y;
}

Tensor mlp(const Tensor& x, const Parameter& weight1, const Parameter& bias1,
           const Parameter& weight2) {
  const auto hidden_layer = [&weight1, &bias1](const Tensor& input) {
    return bias_gelu(linear(input, weight1, nullptr), bias1);
  };
  Tape* const tape = Tape::current();
  const Recording none(nullptr);
  Tensor y = linear(hidden_layer(x), weight2, nullptr);
  if (tape == nullptr) return y;
  y.want_gradient();
  tape->record([x, hidden_layer, &weight2, slot = y.gradient()] {
    const Tensor dy = slot->take();
    if (!dy) return;
    Tensor input = x.detached();
    if (x.gradient()) input.want_gradient();
    Tape inner;
    {
      const Recording record(&inner);
      linear_backward(hidden_layer(input), weight2, nullptr, dy);
    }
    inner.backward();
    if (x.gradient()) x.gradient()->add(input.gradient()->take());
  });
  return y;
}

Tensor window_attention(const Tensor& qkv, int tokens, int heads) {
  const int channels = int(qkv.dim(-1) / 3);
  const WindowAttentionShape shape{.windows = qkv.count() / (std::int64_t{3} * channels * tokens),
                                   .tokens = tokens,
                                   .heads = heads,
                                   .head_dim = channels / heads};
  Tensor out = like(qkv, with_last(qkv.shape(), channels));
  with_activation_type(qkv.dtype(), [&](auto t) {
    using T = decltype(t);
    const bool recording = records({&qkv});
    const Tensor lse =
        recording ? Tensor({shape.windows, heads, tokens}, DType::f32, qkv.device()) : Tensor();
    launch(qkv.device(), WindowAttentionForward<T>{.qkv = qkv.data<T>(),
                                                   .out = out.data<T>(),
                                                   .lse = recording ? lse.data<float>() : nullptr,
                                                   .shape = shape});
    if (!recording) return;
    out.want_gradient();
    record([qkv, saved_out = out.detached(), lse, slot = out.gradient(), shape] {
      const Tensor dout = slot->take();
      if (!dout) return;
      const Tensor dqkv = like(qkv.detached());
      launch(dout.device(), WindowAttentionBackward<T>{.qkv = qkv.data<T>(),
                                                       .out = saved_out.data<T>(),
                                                       .lse = lse.data<float>(),
                                                       .dout = dout.data<T>(),
                                                       .dqkv = dqkv.data<T>(),
                                                       .shape = shape});
      qkv.gradient()->add(dqkv);
    });
  });
  return out;
}

ResidualPair residual_layer_norm(const Tensor& residual, const Tensor& branch,
                                 const Parameter& bias, const Tensor& image_scale,
                                 const NormParameters& norm) {
  const int cols = int(residual.dim(-1));
  const std::int64_t rows = residual.count() / cols;
  const std::int64_t rows_per_image = image_scale ? rows / image_scale.count() : rows;
  const bool recording = records_parameters();
  const bool in_place = !recording && residual.unique();
  ResidualPair out{in_place ? residual.detached() : like(residual), like(residual)};
  with_activation_type(residual.dtype(), [&](auto t) {
    using T = decltype(t);
    const Tensor mean = recording ? Tensor({rows}, DType::f32, residual.device()) : Tensor();
    const Tensor rstd = recording ? Tensor({rows}, DType::f32, residual.device()) : Tensor();
    launch(residual.device(),
           ResidualLayerNormForward<T>{.residual = residual.data<T>(),
                                       .branch = branch.data<T>(),
                                       .bias = bias.weight().data<float>(),
                                       .image_scale = data_or_null<float>(image_scale),
                                       .gamma = norm.gamma.weight().data<float>(),
                                       .beta = norm.beta.weight().data<float>(),
                                       .z = out.z.data<T>(),
                                       .y = out.y.data<T>(),
                                       .mean = recording ? mean.data<float>() : nullptr,
                                       .rstd = recording ? rstd.data<float>() : nullptr,
                                       .rows = rows,
                                       .rows_per_image = std::max<std::int64_t>(rows_per_image, 1),
                                       .cols = cols,
                                       .eps = norm.eps});
    if (!recording) return;
    out.z.want_gradient();
    out.y.want_gradient();
    record([residual = residual.gradient(), branch = branch.gradient(), &bias, image_scale, norm,
            z = out.z.detached(), mean, rstd, z_slot = out.z.gradient(), y_slot = out.y.gradient(),
            rows, rows_per_image, cols] {
      Tensor dz = z_slot->take();
      const Tensor dy = y_slot->take();
      if (!dz && !dy) return;
      const Tensor dresidual = reusable(dz, dy);
      const Tensor dbranch = image_scale ? like(dresidual) : Tensor();
      launch(z.device(), ResidualLayerNormBackward<T>{
                             .dz = data_or_null<T>(dz),
                             .dy = data_or_null<T>(dy),
                             .z = z.data<T>(),
                             .image_scale = data_or_null<float>(image_scale),
                             .gamma = norm.gamma.weight().data<float>(),
                             .mean = mean.data<float>(),
                             .rstd = rstd.data<float>(),
                             .dresidual = dresidual.data<T>(),
                             .dbranch = dbranch ? dbranch.data<T>() : nullptr,
                             .dbias = bias.gradient().data<float>(),
                             .dgamma = norm.gamma.gradient().data<float>(),
                             .dbeta = norm.beta.gradient().data<float>(),
                             .rows = rows,
                             .rows_per_image = std::max<std::int64_t>(rows_per_image, 1),
                             .cols = cols});
      dz = Tensor();
      if (branch) branch->add(dbranch ? dbranch : dresidual);
      if (residual) residual->add(dresidual);
    });
  });
  return out;
}

ResidualPair blockify_layer_norm(const Tensor& x, const Parameter& pos, const NormParameters& norm,
                                 int grid) {
  const BlockGrid shape{.images = int(x.dim(0)),
                        .grid = grid,
                        .side = int(x.dim(1) / grid),
                        .channels = int(x.dim(3))};
  const Shape tokens{x.dim(0), grid * grid, shape.side * shape.side, shape.channels};
  ResidualPair out{like(x, tokens), like(x, tokens)};
  with_activation_type(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const bool recording = records_parameters();
    const Tensor mean = recording ? Tensor({shape.tokens()}, DType::f32, x.device()) : Tensor();
    const Tensor rstd = recording ? Tensor({shape.tokens()}, DType::f32, x.device()) : Tensor();
    launch(x.device(), BlockifyLayerNormForward<T>{.x = x.data<T>(),
                                                   .pos = pos.weight().data<float>(),
                                                   .gamma = norm.gamma.weight().data<float>(),
                                                   .beta = norm.beta.weight().data<float>(),
                                                   .z = out.z.data<T>(),
                                                   .y = out.y.data<T>(),
                                                   .mean = recording ? mean.data<float>() : nullptr,
                                                   .rstd = recording ? rstd.data<float>() : nullptr,
                                                   .shape = shape,
                                                   .eps = norm.eps});
    if (!recording) return;
    out.z.want_gradient();
    out.y.want_gradient();
    record([x = x.gradient(), image = x.shape(), &pos, norm, z = out.z.detached(), mean, rstd,
            z_slot = out.z.gradient(), y_slot = out.y.gradient(), shape] {
      const Tensor dz = z_slot->take();
      const Tensor dy = y_slot->take();
      if (!dy) return;
      const Tensor dx = like(dy, image);
      launch(dy.device(),
             BlockifyLayerNormBackward<T>{.dz = data_or_null<T>(dz),
                                          .dy = dy.data<T>(),
                                          .z = z.data<T>(),
                                          .gamma = norm.gamma.weight().data<float>(),
                                          .mean = mean.data<float>(),
                                          .rstd = rstd.data<float>(),
                                          .dx = dx.data<T>(),
                                          .dpos = pos.gradient().data<float>(),
                                          .dgamma = norm.gamma.gradient().data<float>(),
                                          .dbeta = norm.beta.gradient().data<float>(),
                                          .shape = shape});
      if (x) x->add(dx);
    });
  });
  return out;
}

Tensor deblockify_residual(const Tensor& z, const Tensor& branch, const Parameter& bias,
                           const Tensor& image_scale) {
  const auto root = [](std::int64_t n) {
    int r = 1;
    while (std::int64_t{r} * r < n) ++r;
    return r;
  };
  const BlockGrid shape{.images = int(z.dim(0)),
                        .grid = root(z.dim(1)),
                        .side = root(z.dim(2)),
                        .channels = int(z.dim(3))};
  const std::int64_t side = shape.grid * shape.side;
  Tensor out = like(z, {z.dim(0), side, side, z.dim(3)});
  with_activation_type(z.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(z.device(), DeblockifyResidualForward<T>{.z = z.data<T>(),
                                                    .branch = branch.data<T>(),
                                                    .bias = bias.weight().data<float>(),
                                                    .image_scale = data_or_null<float>(image_scale),
                                                    .out = out.data<T>(),
                                                    .shape = shape});
    if (!records_parameters()) return;
    out.want_gradient();
    record([z = z.gradient(), tokens = z.shape(), branch = branch.gradient(), &bias, image_scale,
            slot = out.gradient(), shape] {
      const Tensor dout = slot->take();
      if (!dout) return;
      const Tensor dz = like(dout, tokens);
      const Tensor dbranch = image_scale ? like(dz) : Tensor();
      launch(dout.device(),
             DeblockifyResidualBackward<T>{.dout = dout.data<T>(),
                                           .image_scale = data_or_null<float>(image_scale),
                                           .dz = dz.data<T>(),
                                           .dbranch = dbranch ? dbranch.data<T>() : nullptr,
                                           .dbias = bias.gradient().data<float>(),
                                           .shape = shape});
      if (branch) branch->add(dbranch ? dbranch : dz);
      if (z) z->add(dz);
    });
  });
  return out;
}

Tensor conv2d(const Tensor& x, const Parameter& weight, const Parameter& bias) {
  const Conv2dShape shape{.images = int(x.dim(0)),
                          .height = int(x.dim(1)),
                          .width = int(x.dim(2)),
                          .in_channels = int(x.dim(3)),
                          .out_channels = int(weight.shape()[0]),
                          .kernel_h = int(weight.shape()[2]),
                          .kernel_w = int(weight.shape()[3])};
  if (shape.taps() == 1) return linear(x, weight, &bias);
  Tensor y = like(x, with_last(x.shape(), shape.out_channels));
  with_activation_type(x.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(x.device(), Conv2dForward<T>{.x = x.data<T>(),
                                        .weight = weight.compute().data<T>(),
                                        .bias = bias.weight().data<float>(),
                                        .y = y.data<T>(),
                                        .shape = shape});
    if (!records_parameters()) return;
    y.want_gradient();
    record([x, &weight, &bias, slot = y.gradient(), shape] {
      const Tensor dy = slot->take();
      if (!dy) return;
      launch(dy.device(), Conv2dBackwardWeight<T>{.x = x.data<T>(),
                                                  .dy = dy.data<T>(),
                                                  .dweight = weight.gradient().data<float>(),
                                                  .dbias = bias.gradient().data<float>(),
                                                  .shape = shape});
      if (!x.gradient()) return;
      const Tensor dx = like(x.detached());
      launch(dy.device(), Conv2dBackwardInput<T>{.dy = dy.data<T>(),
                                                 .weight = weight.compute().data<T>(),
                                                 .dx = dx.data<T>(),
                                                 .shape = shape});
      x.gradient()->add(dx);
    });
  });
  return y;
}

Tensor block_average_pool(const Tensor& x, int grid) {
  const int images = int(x.dim(0)), side = int(x.dim(1) / grid), channels = int(x.dim(3));
  Tensor y = like(x, {images, grid, grid, channels});
  with_activation_type(x.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(x.device(), BlockAveragePoolForward<T>{.x = x.data<T>(),
                                                  .y = y.data<T>(),
                                                  .images = images,
                                                  .grid = grid,
                                                  .side = side,
                                                  .channels = channels});
    if (!records({&x})) return;
    y.want_gradient();
    record([x = x.detached().reshaped(x.shape()), x_slot = x.gradient(), slot = y.gradient(),
            images, grid, side, channels] {
      const Tensor dy = slot->take();
      if (!dy) return;
      const Tensor dx = like(x);
      launch(dy.device(), BlockAveragePoolBackward<T>{.dy = dy.data<T>(),
                                                      .dx = dx.data<T>(),
                                                      .accumulate = false,
                                                      .images = images,
                                                      .grid = grid,
                                                      .side = side,
                                                      .channels = channels});
      x_slot->add(dx);
    });
  });
  return y;
}

Tensor interaction_tokens(const Tensor& z, const Parameter& pos) {
  const int images = int(z.dim(0)), channels = int(z.dim(3));
  const int positions = int(z.dim(1) * z.dim(2));
  Tensor tokens = like(z, {images, positions, channels});
  with_activation_type(z.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(z.device(), InteractionTokensForward<T>{.z = z.data<T>(),
                                                   .pos = pos.weight().data<float>(),
                                                   .tokens = tokens.data<T>(),
                                                   .images = images,
                                                   .positions = positions,
                                                   .channels = channels});
    if (!records_parameters()) return;
    tokens.want_gradient();
    record([z = z.gradient(), shape = z.shape(), &pos, slot = tokens.gradient(), images, positions,
            channels] {
      const Tensor dtokens = slot->take();
      if (!dtokens) return;
      const Tensor dz = like(dtokens, shape);
      launch(dtokens.device(), InteractionTokensBackward<T>{.dtokens = dtokens.data<T>(),
                                                            .dz = dz.data<T>(),
                                                            .dpos = pos.gradient().data<float>(),
                                                            .images = images,
                                                            .positions = positions,
                                                            .channels = channels});
      if (z) z->add(dz);
    });
  });
  return tokens;
}

Tensor interaction_merge(const Tensor& local, const Tensor& glob, const NormParameters& norm) {
  const InteractionMergeShape shape{.images = int(local.dim(0)),
                                    .grid = int(glob.dim(1)),
                                    .factor = int(local.dim(1) / glob.dim(1)),
                                    .channels = int(local.dim(3))};
  const Shape pooled{local.dim(0), local.dim(1) / 2, local.dim(2) / 2, local.dim(3)};
  Tensor out = like(local, pooled);
  with_activation_type(local.dtype(), [&](auto t) {
    using T = decltype(t);
    const bool recording = records_parameters();
    const Shape pixels{local.dim(0), local.dim(1), local.dim(2)};
    const Device device = local.device();
    const Tensor argmax = recording ? Tensor(pooled, DType::u8, device) : Tensor();
    const Tensor mean = recording ? Tensor(pixels, DType::f32, device) : Tensor();
    const Tensor rstd = recording ? Tensor(pixels, DType::f32, device) : Tensor();
    launch(device,
           InteractionMergeForward<T>{.local = local.data<T>(),
                                      .glob = glob.data<T>(),
                                      .gamma = norm.gamma.weight().data<float>(),
                                      .beta = norm.beta.weight().data<float>(),
                                      .out = out.data<T>(),
                                      .argmax = recording ? argmax.data<std::uint8_t>() : nullptr,
                                      .mean = recording ? mean.data<float>() : nullptr,
                                      .rstd = recording ? rstd.data<float>() : nullptr,
                                      .shape = shape,
                                      .eps = norm.eps});
    if (!recording) return;
    out.want_gradient();
    record([local, glob, norm, argmax, mean, rstd, slot = out.gradient(), shape] {
      const Tensor dout = slot->take();
      if (!dout) return;
      const Tensor dlocal = like(local.detached());
      const Tensor dglob = like(glob.detached());
      launch(dout.device(),
             InteractionMergeBackward<T>{.dout = dout.data<T>(),
                                         .argmax = argmax.data<std::uint8_t>(),
                                         .local = local.data<T>(),
                                         .glob = glob.data<T>(),
                                         .gamma = norm.gamma.weight().data<float>(),
                                         .mean = mean.data<float>(),
                                         .rstd = rstd.data<float>(),
                                         .dlocal = dlocal.data<T>(),
                                         .dglob = dglob.data<T>(),
                                         .dgamma = norm.gamma.gradient().data<float>(),
                                         .dbeta = norm.beta.gradient().data<float>(),
                                         .shape = shape});
      if (local.gradient()) local.gradient()->add(dlocal);
      if (glob.gradient()) glob.gradient()->add(dglob);
    });
  });
  return out;
}

Tensor hash_pool(const Tensor& local, const Tensor& glob) {
  const int images = int(local.dim(0)), side = int(local.dim(1)), channels = int(local.dim(3));
  const std::int64_t outputs = (side - 1) / 2 + 1;
  Tensor pooled = like(local, {images, channels});
  with_activation_type(local.dtype(), [&](auto t) {
    using T = decltype(t);
    const bool recording = records({&local, &glob});
    const Tensor argmax =
        recording ? Tensor({images, outputs, outputs, channels}, DType::u8, local.device())
                  : Tensor();
    launch(local.device(),
           HashPoolForward<T>{.local = local.data<T>(),
                              .glob = glob.data<T>(),
                              .pooled = pooled.data<T>(),
                              .argmax = recording ? argmax.data<std::uint8_t>() : nullptr,
                              .images = images,
                              .side = side,
                              .channels = channels});
    if (!recording) return;
    pooled.want_gradient();
    record([local = local.gradient(), map = local.shape(), glob = glob.gradient(),
            vector = glob.shape(), argmax, slot = pooled.gradient(), images, side, channels] {
      const Tensor dpooled = slot->take();
      if (!dpooled) return;
      if (local) {
        const Tensor dlocal = like(dpooled, map);
        launch(dpooled.device(), HashPoolBackward<T>{.dpooled = dpooled.data<T>(),
                                                     .argmax = argmax.data<std::uint8_t>(),
                                                     .dlocal = dlocal.data<T>(),
                                                     .images = images,
                                                     .side = side,
                                                     .channels = channels});
        local->add(dlocal);
      }
      if (glob) glob->add(dpooled.reshaped(vector));
    });
  });
  return pooled;
}

HashCode hash_head(const Tensor& pooled, const Parameter& weight, const Parameter& bias) {
  const int images = int(pooled.dim(0)), channels = int(pooled.dim(1));
  const int bits = int(weight.shape()[0]);
  HashCode out{Tensor({images, bits}, DType::f32, pooled.device()),
               Tensor({images, bits}, DType::f32, pooled.device())};
  with_activation_type(pooled.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(pooled.device(), HashHeadForward<T>{.pooled = pooled.data<T>(),
                                               .weight = weight.compute().data<T>(),
                                               .bias = bias.weight().data<float>(),
                                               .logits = out.logits.data<float>(),
                                               .code = out.code.data<float>(),
                                               .images = images,
                                               .channels = channels,
                                               .bits = bits});
    if (!records_parameters()) return;
    out.code.want_gradient();
    record([pooled, &weight, &bias, code = out.code.detached(), slot = out.code.gradient(), images,
            channels, bits] {
      const Tensor dcode = slot->take();
      if (!dcode) return;
      const Tensor dpooled = like(pooled.detached());
      launch(dcode.device(), HashHeadBackward<T>{.dcode = dcode.data<float>(),
                                                 .code = code.data<float>(),
                                                 .pooled = pooled.data<T>(),
                                                 .weight = weight.compute().data<T>(),
                                                 .dpooled = dpooled.data<T>(),
                                                 .dweight = weight.gradient().data<float>(),
                                                 .dbias = bias.gradient().data<float>(),
                                                 .images = images,
                                                 .channels = channels,
                                                 .bits = bits});
      if (pooled.gradient()) pooled.gradient()->add(dpooled);
    });
  });
  return out;
}

namespace {

/// Calls f(T()) with the bank's storage type.
template <class F>
void with_bank_type(DType dtype, F&& f) {
  if (dtype == DType::f32) return f(float());
  if (dtype == DType::f16) return f(f16());
  HH_REQUIRE(dtype == DType::bf16, "a memory bank is f32, f16 or bf16, not " << name(dtype));
  f(bf16());
}

const std::uint64_t* label_words(const Tensor& labels) {
  return reinterpret_cast<const std::uint64_t*>(labels.data<std::int64_t>());
}

}  // namespace

void bank_update(const BankView& bank, const Tensor& code, const Tensor& labels,
                 const Tensor& index) {
  with_bank_type(bank.codes.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(code.device(), BankUpdate<T>{.u = code.data<float>(),
                                        .labels = label_words(labels),
                                        .index = index.data<std::int64_t>(),
                                        .bank = bank.codes.data<T>(),
                                        .bank_labels = reinterpret_cast<std::uint64_t*>(
                                            bank.labels.data<std::int64_t>()),
                                        .images = int(code.dim(0)),
                                        .bank_rows = bank.codes.dim(0),
                                        .bits = int(code.dim(1)),
                                        .label_words = int(labels.dim(1))});
  });
}

WmlLossResult wml_loss(const Tensor& code, const Tensor& labels, const BankView& bank, float alpha,
                       const Tensor& gradient_scale) {
  const bool recording = records({&code});
  WmlLossResult out{Tensor({1}, DType::f32, code.device()), Tensor({2}, DType::i64, code.device())};
  const Tensor du = recording ? like(code.detached()) : Tensor();
  with_bank_type(bank.codes.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(code.device(),
           WmlLoss<T>{.u = code.data<float>(),
                      .labels = label_words(labels),
                      .bank = bank.codes.data<T>(),
                      .bank_labels = label_words(bank.labels),
                      .loss = out.loss.data<float>(),
                      .pairs = out.pairs.data<std::int64_t>(),
                      .du = recording ? du.data<float>() : nullptr,
                      .gradient_scale = gradient_scale ? gradient_scale.data<float>() : nullptr,
                      .images = int(code.dim(0)),
                      .bank_rows = bank.codes.dim(0),
                      .bits = int(code.dim(1)),
                      .label_words = int(labels.dim(1)),
                      .alpha = alpha});
  });
  if (recording) record([slot = code.gradient(), du] { slot->add(du); });
  return out;
}

}  // namespace hh
