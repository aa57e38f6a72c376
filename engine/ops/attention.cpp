// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/attention.h"

#include "engine/ops/record.h"
#include "kernels/attention/window_attention.h"

namespace hh {

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

}  // namespace hh
