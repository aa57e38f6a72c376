// SPDX-License-Identifier: Apache-2.0
#include "bench/peers/make.h"
#include "kernels/hash/hash_head.h"

namespace hh::bench {

template <class T>
Peer make(const HashHeadForward<T>& p, StreamHandle stream) {
  const auto c = std::make_shared<Composition>(stream);
  const std::int64_t images = p.images, channels = p.channels, bits = p.bits;
  const View logits = dense(p.logits, {1, images, bits});
  c->product(dense(p.pooled, {1, images, channels}),
             transposed(dense(p.weight, {1, bits, channels})), logits);
  c->binary(Binary::kAdd, logits, dense(p.bias, {1, 1, bits}), logits);
  c->unary(Unary::kTanh, logits, dense(p.code, logits.dim));
  return Composition::finish(c);
}

template <class T>
Peer make(const HashHeadBackward<T>& p, StreamHandle stream) {
  const auto c = std::make_shared<Composition>(stream);
  const std::int64_t images = p.images, channels = p.channels, bits = p.bits;
  const Extents codes{1, images, bits};
  const View code = dense(p.code, codes), dcode = dense(p.dcode, codes),
             lost = c->scratch(CUDNN_DATA_FLOAT, codes),
             dlogits = c->scratch(kCudnnType<T>, codes);  // products want one type
  c->binary(Binary::kMultiply, code, code, lost);
  c->binary(Binary::kMultiply, dcode, lost, lost);
  c->binary(Binary::kSubtract, dcode, lost, dlogits);
  c->product(dlogits, dense(p.weight, {1, bits, channels}),
             dense(p.dpooled, {1, images, channels}));
  c->product(transposed(dlogits), dense(p.pooled, {1, images, channels}),
             dense(p.dweight, {1, bits, channels}));
  c->sum(dlogits, dense(p.dbias, {1, 1, bits}));
  return Composition::finish(c);
}

template Peer make(const HashHeadForward<float>&, StreamHandle);
template Peer make(const HashHeadForward<bf16>&, StreamHandle);
template Peer make(const HashHeadBackward<float>&, StreamHandle);
template Peer make(const HashHeadBackward<bf16>&, StreamHandle);

}  // namespace hh::bench
