// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/blocks.h"

#include "engine/ops/record.h"
#include "kernels/blockify/blockify_layer_norm.h"
#include "kernels/blockify/deblockify_residual.h"

namespace hh {

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

Tensor patchify_pixels(const std::uint8_t* pixels, Device device, const PatchShape& shape,
                       std::span<const float> mean, std::span<const float> std, DType dtype) {
  assert(int(mean.size()) == shape.channels && int(std.size()) == shape.channels);
  const std::int64_t side = shape.size / shape.patch;
  Tensor rows({shape.images * side * side, shape.channels * shape.patch * shape.patch}, dtype,
              device);
  with_activation_type(dtype, [&](auto t) {
    using T = decltype(t);
    PatchifyPixels<T> args{.pixels = pixels, .rows = rows.data<T>(), .shape = shape};
    std::copy(mean.begin(), mean.end(), args.mean);
    std::copy(std.begin(), std.end(), args.std);
    launch(device, args);
  });
  return rows;
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
      Tensor dy = y_slot->take();
      if (!dz && !dy) return;
      if (!dy) dy = Tensor::zeros(dz.shape(), dz.dtype(), dz.device());
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

}  // namespace hh
