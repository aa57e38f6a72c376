// SPDX-License-Identifier: Apache-2.0
// A convolution with a 1x1 kernel as the linear layer on its pixels that it is, for both devices.
#pragma once
#include "kernels/conv/conv2d.h"
#include "kernels/linear/linear.h"

namespace hh {

template <class T>
LinearForward<T> as_linear(const Conv2dForward<T>& p) {
  return {.x = p.x,
          .weight = p.weight,
          .bias = p.bias,
          .y = p.y,
          .rows = p.shape.pixels(),
          .in = p.shape.in_channels,
          .out = p.shape.out_channels,
          .workspace = p.workspace};
}
template <class T>
LinearBackwardInput<T> as_linear(const Conv2dBackwardInput<T>& p) {
  return {.dy = p.dy,
          .weight = p.weight,
          .dx = p.dx,
          .rows = p.shape.pixels(),
          .in = p.shape.in_channels,
          .out = p.shape.out_channels,
          .workspace = p.workspace};
}
template <class T>
LinearBackwardWeight<T> as_linear(const Conv2dBackwardWeight<T>& p) {
  return {.x = p.x,
          .dy = p.dy,
          .dweight = p.dweight,
          .dbias = p.dbias,
          .rows = p.shape.pixels(),
          .in = p.shape.in_channels,
          .out = p.shape.out_channels,
          .workspace = p.workspace};
}

}  // namespace hh
