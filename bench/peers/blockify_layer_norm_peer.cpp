// SPDX-License-Identifier: Apache-2.0
#include "bench/peers/blocks.h"
#include "bench/peers/make.h"
#include "kernels/blockify/blockify_layer_norm.h"

namespace hh::bench {

template <class T>
Peer make(const BlockifyLayerNormForward<T>& p, StreamHandle stream) {
  if (!p.mean) return {};
  const auto c = std::make_shared<Composition>(stream);
  const BlockViews blocks(p.shape);
  const View z = dense(p.z, blocks.images);
  c->copy(blocks.in_image(p.x), blocks.in_blocks(p.z));
  c->binary(Binary::kAdd, z, dense(p.pos, blocks.one_image), z);
  c->layer_norm(dense(p.z, blocks.rows), p.gamma, p.beta, p.eps, dense(p.y, blocks.rows), p.mean,
                p.rstd);
  return Composition::finish(c);
}

template <class T>
Peer make(const BlockifyLayerNormBackward<T>& p, StreamHandle stream) {
  if (!p.dz) return {};
  const auto c = std::make_shared<Composition>(stream);
  const BlockViews blocks(p.shape);
  const View total = c->scratch(kCudnnType<T>, blocks.images);
  const T* whole = static_cast<const T*>(total.data);
  c->layer_norm_backward(dense(p.dy, blocks.rows), dense(p.z, blocks.rows), p.gamma, p.mean, p.rstd,
                         dense(whole, blocks.rows), p.dgamma, p.dbeta);
  c->binary(Binary::kAdd, dense(p.dz, blocks.images), total, total);
  c->sum(total, dense(p.dpos, blocks.one_image));
  c->copy(blocks.in_blocks(whole), blocks.in_image(p.dx));
  return Composition::finish(c);
}

template Peer make(const BlockifyLayerNormForward<float>&, StreamHandle);
template Peer make(const BlockifyLayerNormForward<bf16>&, StreamHandle);
template Peer make(const BlockifyLayerNormBackward<float>&, StreamHandle);
template Peer make(const BlockifyLayerNormBackward<bf16>&, StreamHandle);

}  // namespace hh::bench
