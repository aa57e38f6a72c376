// SPDX-License-Identifier: Apache-2.0
// linear_gelu as two launches, the product and then bias_gelu in place where it may be: on the CPU
// but for forward in float32, and on a GPU where one kernel can't.
#pragma once
#include "kernels/linear/bias_gelu.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/linear_gelu.h"

namespace hh {

template <class T>
LinearForward<T> product_of(const LinearGeluForward<T>& p) {
  return {.x = p.x,
          .weight = p.weight,
          .y = p.pre != nullptr ? p.pre : p.y,
          .rows = p.rows,
          .in = p.in,
          .out = p.hidden,
          .workspace = p.workspace};
}
template <class T>
BiasGeluForward<T> gelu_of(const LinearGeluForward<T>& p) {
  return {.x = p.pre != nullptr ? p.pre : p.y,
          .bias = p.bias,
          .y = p.y,
          .rows = p.rows,
          .cols = p.hidden};
}

template <class T>
LinearBackwardInput<T> product_of(const LinearGeluBackward<T>& p) {
  return {.dy = p.dout,
          .weight = p.weight,
          .dx = p.dpre,
          .rows = p.rows,
          .in = p.hidden,
          .out = p.out,
          .workspace = p.workspace};
}
template <class T>
BiasGeluBackward<T> gelu_of(const LinearGeluBackward<T>& p) {
  return {.x = p.pre,
          .bias = p.bias,
          .dy = p.dpre,
          .dx = p.dpre,
          .dbias = p.dbias,
          .rows = p.rows,
          .cols = p.hidden,
          .workspace = p.workspace,
          .left = p.left};
}

}  // namespace hh
