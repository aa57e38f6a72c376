// SPDX-License-Identifier: Apache-2.0
#include "bench/peers/make.h"
#include "kernels/hash/hash_pool.h"

namespace hh::bench {

template <class T>
Peer make(const HashPoolForward<T>& p, StreamHandle stream) {
  const auto c = std::make_shared<Composition>(stream);
  const std::int64_t images = p.images, side = p.side, channels = p.channels,
                     out = (side - 1) / 2 + 1;
  const View sum = c->scratch(kCudnnType<T>, {images, side, side, channels}),
             largest = c->scratch(kCudnnType<T>, {images, out, out, channels});
  c->binary(Binary::kAdd, dense(p.local, sum.dim), dense(p.glob, {images, 1, 1, channels}), sum);
  c->max_pool(sum, largest);
  c->mean(largest, dense(p.pooled, {images, 1, 1, channels}));
  return Composition::finish(c);
}

template Peer make(const HashPoolForward<float>&, StreamHandle);
template Peer make(const HashPoolForward<bf16>&, StreamHandle);

}  // namespace hh::bench
