// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/linear.h"

#include "engine/ops/record.h"
#include "kernels/conv/conv2d.h"
#include "kernels/linear/bias_gelu.h"
#include "kernels/linear/linear.h"

namespace hh {
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
                                        .bias = bias ? bias->compute().data<T>() : nullptr,
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
  Tensor y = !records_parameters() && x.unique() ? x.detached() : like(x);
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
                                        .bias = bias.compute().data<T>(),
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

}  // namespace hh
