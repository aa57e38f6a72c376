// SPDX-License-Identifier: Apache-2.0
#include "bench/peers/blocks.h"
#include "bench/peers/make.h"
#include "kernels/blockify/deblockify_residual.h"

namespace hh::bench {

template <class T>
Peer make(const DeblockifyResidualForward<T>& p, StreamHandle stream) {
  if (!p.image_scale) return {};
  const auto c = std::make_shared<Composition>(stream);
  const BlockViews blocks(p.shape);
  const Extents &all = blocks.all, each{1, 1, p.shape.channels}, image{p.shape.images, 1, 1};
  const View sum = c->scratch(kCudnnType<T>, all);
  c->binary(Binary::kAdd, dense(p.branch, all), dense(p.bias, each), sum);
  c->binary(Binary::kMultiply, sum, dense(p.image_scale, image), sum);
  c->binary(Binary::kAdd, dense(p.z, all), sum, sum);
  c->copy(blocks.in_blocks(static_cast<const T*>(sum.data)), blocks.in_image(p.out));
  return Composition::finish(c);
}

template <class T>
Peer make(const DeblockifyResidualBackward<T>& p, StreamHandle stream) {
  if (!p.image_scale) return {};
  const auto c = std::make_shared<Composition>(stream);
  const BlockViews blocks(p.shape);
  const Extents &all = blocks.all, each{1, 1, p.shape.channels}, image{p.shape.images, 1, 1};
  c->copy(blocks.in_image(p.dout), blocks.in_blocks(p.dz));
  c->binary(Binary::kMultiply, dense(p.dz, all), dense(p.image_scale, image),
            dense(p.dbranch, all));
  c->sum(dense(p.dbranch, {1, p.shape.tokens(), p.shape.channels}), dense(p.dbias, each));
  return Composition::finish(c);
}

template Peer make(const DeblockifyResidualForward<float>&, StreamHandle);
template Peer make(const DeblockifyResidualForward<bf16>&, StreamHandle);
template Peer make(const DeblockifyResidualBackward<float>&, StreamHandle);
template Peer make(const DeblockifyResidualBackward<bf16>&, StreamHandle);

}  // namespace hh::bench
