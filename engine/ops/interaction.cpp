// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/interaction.h"

#include "engine/ops/record.h"
#include "kernels/interaction/block_average_pool.h"
#include "kernels/interaction/interaction_merge.h"
#include "kernels/interaction/interaction_tokens.h"

namespace hh {

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
      // What has arrived, as from the convolution beside it, is added to in the same pass.
      Tensor dx = x_slot->take();
      const bool accumulate = dx && dx.unique();
      if (dx && !accumulate) x_slot->add(dx);
      if (!accumulate) dx = like(x);
      launch(dy.device(), BlockAveragePoolBackward<T>{.dy = dy.data<T>(),
                                                      .dx = dx.data<T>(),
                                                      .accumulate = accumulate,
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

}  // namespace hh
