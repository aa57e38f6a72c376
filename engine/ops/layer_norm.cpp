// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/layer_norm.h"

#include "engine/ops/record.h"
#include "kernels/layer_norm/residual_layer_norm.h"

namespace hh {

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

}  // namespace hh
