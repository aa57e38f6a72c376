// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/hash.h"

#include "engine/ops/record.h"
#include "kernels/hash/hash_head.h"
#include "kernels/hash/hash_pool.h"

namespace hh {

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

}  // namespace hh
