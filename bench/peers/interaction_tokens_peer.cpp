// SPDX-License-Identifier: Apache-2.0
#include "bench/peers/make.h"
#include "kernels/interaction/interaction_tokens.h"

namespace hh::bench {
namespace {

/// [B, M, C] with the channels outside, so that in memory they are [B, C, M].
View channels_first(const View& v) { return strided(v, v.dim, {v.dim[1] * v.dim[2], 1, v.dim[1]}); }

}  // namespace

template <class T>
Peer make(const InteractionTokensForward<T>& p, StreamHandle stream) {
  const auto c = std::make_shared<Composition>(stream);
  const std::int64_t images = p.images, size = std::int64_t{p.positions} * p.channels;
  const View z = dense(p.z, {images, p.positions, p.channels}),
             tokens = dense(p.tokens, {1, images, size});
  c->copy(z, channels_first(dense(p.tokens, z.dim)));
  c->binary(Binary::kAdd, tokens, dense(p.pos, {1, 1, size}), tokens);
  return Composition::finish(c);
}

template <class T>
Peer make(const InteractionTokensBackward<T>& p, StreamHandle stream) {
  const auto c = std::make_shared<Composition>(stream);
  const std::int64_t images = p.images, size = std::int64_t{p.positions} * p.channels;
  const View dz = dense(p.dz, {images, p.positions, p.channels});
  c->sum(dense(p.dtokens, {1, images, size}), dense(p.dpos, {1, 1, size}));
  c->copy(channels_first(dense(p.dtokens, dz.dim)), dz);
  return Composition::finish(c);
}

template Peer make(const InteractionTokensForward<float>&, StreamHandle);
template Peer make(const InteractionTokensForward<bf16>&, StreamHandle);
template Peer make(const InteractionTokensBackward<float>&, StreamHandle);
template Peer make(const InteractionTokensBackward<bf16>&, StreamHandle);

}  // namespace hh::bench
