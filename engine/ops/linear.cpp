// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/linear.h"

#include <cstdlib>
#include <string_view>

#include "engine/ops/record.h"
#include "kernels/conv/conv2d.h"
#include "kernels/conv/int8_conv2d.h"
#include "kernels/linear/int8_linear.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/linear_gelu.h"

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

void add_weight_gradient(const Tensor& x, const Parameter& weight, const Parameter* bias,
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
  });
}

/// If `x` wants a gradient.
void add_input_gradient(const Tensor& x, const Parameter& weight, const Tensor& dy) {
  if (!x.gradient()) return;
  const LinearSizes sizes(x, weight);
  const Tensor dx = like(x.detached());
  with_activation_type(x.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(dy.device(), LinearBackwardInput<T>{.dy = dy.data<T>(),
                                               .weight = weight.compute().data<T>(),
                                               .dx = dx.data<T>(),
                                               .rows = sizes.rows,
                                               .in = sizes.in,
                                               .out = sizes.out});
  });
  x.gradient()->add(dx);
}

/// HH_LINEAR_GELU: own (one kernel where it can be), library (two launches); else by shape.
LinearGeluWay linear_gelu_way() {
  const char* const value = std::getenv("HH_LINEAR_GELU");
  if (value == nullptr || *value == 0) return LinearGeluWay::kByShape;
  const std::string_view way(value);
  HH_REQUIRE(way == "own" || way == "library",
             "HH_LINEAR_GELU=" << way << ": use own or library, or leave it unset");
  return way == "own" ? LinearGeluWay::kOneKernel : LinearGeluWay::kTwoLaunches;
}

/// Packed weights are for inference.
const void* packed(const Parameter& weight) {
  return weight.packed() && !records_parameters() ? weight.packed().raw() : nullptr;
}

/// Without leaving a step on the tape.
Tensor product(const Tensor& x, const Parameter& weight, const Parameter* bias) {
  const LinearSizes sizes(x, weight);
  Tensor y = like(x, with_last(x.shape(), sizes.out));
  with_activation_type(x.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(x.device(), LinearForward<T>{.x = x.data<T>(),
                                        .weight = weight.compute().data<T>(),
                                        .bias = bias ? bias->compute().data<T>() : nullptr,
                                        .y = y.data<T>(),
                                        .packed = packed(weight),
                                        .rows = sizes.rows,
                                        .in = sizes.in,
                                        .out = sizes.out});
  });
  return y;
}

/// The hidden layer of an MLP.
struct Hidden {
  Tensor pre, y;  // before its bias, empty unless kept for backward; after GELU
};

Hidden hidden_of(const Tensor& x, const Parameter& weight, const Parameter& bias, bool keep_pre) {
  const LinearSizes sizes(x, weight);
  Hidden hidden{{}, like(x, with_last(x.shape(), sizes.out))};
  if (keep_pre) hidden.pre = like(hidden.y);
  with_activation_type(x.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(x.device(), LinearGeluForward<T>{.x = x.data<T>(),
                                            .weight = weight.compute().data<T>(),
                                            .bias = bias.weight().data<float>(),
                                            .pre = keep_pre ? hidden.pre.data<T>() : nullptr,
                                            .y = hidden.y.data<T>(),
                                            .packed = packed(weight),
                                            .rows = sizes.rows,
                                            .in = sizes.in,
                                            .hidden = sizes.out,
                                            .way = linear_gelu_way()});
  });
  return hidden;
}

/// The gradient of what stood before the hidden layer's bias; adds to that of the bias. `weight`:
/// of the layer that follows, dout its gradient.
Tensor hidden_gradient(const Tensor& pre, const Parameter& bias, const Parameter& weight,
                       const Tensor& dout) {
  const LinearSizes sizes(pre, weight);
  const Tensor dpre = like(pre);
  with_activation_type(pre.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(pre.device(), LinearGeluBackward<T>{.dout = dout.data<T>(),
                                               .weight = weight.compute().data<T>(),
                                               .pre = pre.data<T>(),
                                               .bias = bias.weight().data<float>(),
                                               .dpre = dpre.data<T>(),
                                               .dbias = bias.gradient().data<float>(),
                                               .rows = sizes.rows,
                                               .hidden = sizes.in,
                                               .out = sizes.out,
                                               .way = linear_gelu_way()});
  });
  return dpre;
}

/// Bytes are for inference. Those of a kernel [O, I, kh, kw] have its channels last, as conv2d() wants
/// them: the patch embedding, whose rows have them first, stays float32.
bool multiplies_bytes(const Parameter& weight) { return weight.int8() && !records_parameters(); }
bool multiplies_rows_of_bytes(const Parameter& weight) {
  const Shape& s = weight.shape();
  return multiplies_bytes(weight) && (s.axes() == 2 || s[2] * s[3] == 1);
}

Tensor int8_linear(const Tensor& x, const Parameter& weight, const Parameter* bias, bool gelu) {
  const LinearSizes sizes(x, weight);
  Tensor y = like(x, with_last(x.shape(), sizes.out));
  launch(x.device(), Int8LinearForward{.x = x.data<float>(),
                                       .packed = weight.int8().raw(),
                                       .bias = bias ? bias->weight().data<float>() : nullptr,
                                       .y = y.data<float>(),
                                       .gelu = gelu,
                                       .rows = sizes.rows,
                                       .in = sizes.in,
                                       .out = sizes.out});
  return y;
}

Tensor int8_mlp(const Tensor& x, const Parameter& weight1, const Parameter& bias1,
                const Parameter& weight2) {
  const LinearSizes first(x, weight1);
  const int out = int(weight2.shape()[0]);
  Tensor y = like(x, with_last(x.shape(), out));
  launch(x.device(), Int8MlpForward{.x = x.data<float>(),
                                    .packed1 = weight1.int8().raw(),
                                    .bias1 = bias1.weight().data<float>(),
                                    .packed2 = weight2.int8().raw(),
                                    .y = y.data<float>(),
                                    .rows = first.rows,
                                    .in = first.in,
                                    .hidden = first.out,
                                    .out = out});
  return y;
}

}  // namespace

Tensor linear(const Tensor& x, const Parameter& weight, const Parameter* bias) {
  if (multiplies_rows_of_bytes(weight)) return int8_linear(x, weight, bias, /*gelu=*/false);
  Tensor y = product(x, weight, bias);
  if (!records_parameters()) return y;
  y.want_gradient();
  record([x, &weight, bias, slot = y.gradient()] {
    const Tensor dy = slot->take();
    if (!dy) return;
    add_weight_gradient(x, weight, bias, dy);
    add_input_gradient(x, weight, dy);
  });
  return y;
}

Tensor mlp(Tensor x, const Parameter& weight1, const Parameter& bias1, const Parameter& weight2,
           KeepHidden keep, const std::function<void(const Tensor& hidden)>& see) {
  if (multiplies_bytes(weight1)) {
    if (!see) return int8_mlp(x, weight1, bias1, weight2);
    const Tensor hidden = int8_linear(x, weight1, &bias1, /*gelu=*/true);
    see(hidden);
    return int8_linear(hidden, weight2, nullptr, /*gelu=*/false);
  }
  Tape* const tape = Tape::current();
  const bool kept = tape != nullptr && keep == KeepHidden::kYes;
  Hidden hidden = hidden_of(x, weight1, bias1, kept);
  if (tape == nullptr) x = {};  // in inference that may give its memory back
  if (see) see(hidden.y);
  Tensor y = product(hidden.y, weight2, nullptr);
  if (tape == nullptr) return y;
  if (!kept) hidden = {};
  y.want_gradient();
  record([x, hidden, &weight1, &bias1, &weight2, slot = y.gradient()]() mutable {
    const Tensor dy = slot->take();
    if (!dy) return;
    if (!hidden.y) hidden = hidden_of(x, weight1, bias1, true);
    add_weight_gradient(hidden.y, weight2, nullptr, dy);
    hidden.y = {};
    const Tensor dpre = hidden_gradient(hidden.pre, bias1, weight2, dy);
    hidden.pre = {};
    add_weight_gradient(x, weight1, nullptr, dpre);
    add_input_gradient(x, weight1, dpre);
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
  if (multiplies_bytes(weight)) {
    launch(x.device(), Int8Conv2dForward{.x = x.data<float>(),
                                         .packed = weight.int8().raw(),
                                         .bias = bias.weight().data<float>(),
                                         .y = y.data<float>(),
                                         .shape = shape});
    return y;
  }
  with_activation_type(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const bool recording = records_parameters();
    const bool keeps_rows = recording && x.device() != kCpu;
    const Tensor rows = keeps_rows ? like(weight.compute()) : Tensor();
    launch(x.device(), Conv2dForward<T>{.x = x.data<T>(),
                                        .weight = weight.compute().data<T>(),
                                        .bias = bias.compute().data<T>(),
                                        .y = y.data<T>(),
                                        .rows = rows ? rows.data<T>() : nullptr,
                                        .shape = shape});
    if (!recording) return;
    y.want_gradient();
    record([x, &weight, &bias, rows, slot = y.gradient(), shape] {
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
                                                 .rows = rows ? rows.data<T>() : nullptr,
                                                 .shape = shape});
      x.gradient()->add(dx);
    });
  });
  return y;
}

}  // namespace hh
