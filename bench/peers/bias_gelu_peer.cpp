// SPDX-License-Identifier: Apache-2.0
#include "bench/peers/make.h"
#include "kernels/linear/bias_gelu.h"

namespace hh::bench {

template <class T>
Peer make(const BiasGeluForward<T>& p, StreamHandle stream) {
  const auto c = std::make_shared<Composition>(stream);
  const Extents all{1, p.rows, p.cols}, row{1, 1, p.cols};
  const View y = dense(p.y, all);
  c->binary(Binary::kAdd, dense(p.x, all), dense(p.bias, row), y);
  c->unary(Unary::kGelu, y, y);
  return Composition::finish(c);
}

template <class T>
Peer make(const BiasGeluBackward<T>& p, StreamHandle stream) {
  const auto c = std::make_shared<Composition>(stream);
  const Extents all{1, p.rows, p.cols}, row{1, 1, p.cols};
  const View v = c->scratch(kCudnnType<T>, all), dx = dense(p.dx, all);
  c->binary(Binary::kAdd, dense(p.x, all), dense(p.bias, row), v);
  c->binary(Binary::kGeluGradient, dense(p.dy, all), v, dx);
  c->sum(dx, dense(p.dbias, row));
  return Composition::finish(c);
}

template Peer make(const BiasGeluForward<float>&, StreamHandle);
template Peer make(const BiasGeluForward<bf16>&, StreamHandle);
template Peer make(const BiasGeluBackward<float>&, StreamHandle);
template Peer make(const BiasGeluBackward<bf16>&, StreamHandle);

}  // namespace hh::bench
