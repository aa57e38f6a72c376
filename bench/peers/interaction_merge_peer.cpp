// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "bench/peers/make.h"
#include "kernels/interaction/interaction_merge.h"

namespace hh::bench {
namespace {

/// [h*h, m*m]: the bilinear map as a matrix. cuDNN's resampling has no such mode for channels-last.
std::vector<float> upsampling(int m, int factor) {
  const int h = m * factor;
  std::vector<float> axis(std::size_t(h) * m), both(std::size_t(h) * h * m * m);
  for (int i = 0; i < h; ++i) {
    const double at = std::max(0.0, (i + 0.5) / factor - 0.5);
    const int below = int(at), above = std::min(below + 1, m - 1);
    axis[std::size_t(i * m + below)] += float(1 - (at - below));
    axis[std::size_t(i * m + above)] += float(at - below);
  }
  for (std::size_t i = 0; i < both.size(); ++i) {
    const auto to = int(i / std::size_t(m * m)), from = int(i % std::size_t(m * m));
    both[i] = axis[std::size_t(to / h * m + from / m)] * axis[std::size_t(to % h * m + from % m)];
  }
  return both;
}

/// What forward and backward have in common: sum and norm in memory.
template <class T>
struct Merge {
  Merge(Composition& c, const InteractionMergeShape& s)
      : b(s.images), h(s.side()), m(s.grid), ch(s.channels) {
    const View matrix = c.constant(upsampling(s.grid, s.factor), {1, h * h, m * m});
    up = c.scratch(kCudnnType<T>, matrix.dim);
    c.unary(Unary::kCopy, matrix, up);
    c.run_and_forget();
    sum = c.scratch(kCudnnType<T>, pixels());
    norm = c.scratch(kCudnnType<T>, pixels());
    mean = c.scratch(CUDNN_DATA_FLOAT, {b * h * h});
    rstd = c.scratch(CUDNN_DATA_FLOAT, {b * h * h});
  }
  Extents pixels() const { return {b, h * h, ch}; }
  View rows(const View& v) const { return dense(v.data, v.type, {b * h * h, ch}); }
  View image(const View& v, std::int64_t side) const {
    return dense(v.data, v.type, {b, side, side, ch});
  }
  /// Four calls.
  void forward(Composition& c, const T* local, const T* glob, const float* gamma, const float* beta,
               float eps, const View& out) const {
    c.product(up, dense(glob, {b, m * m, ch}), sum);
    c.binary(Binary::kAdd, dense(local, pixels()), sum, sum);
    c.layer_norm(rows(sum), gamma, beta, eps, rows(norm), static_cast<float*>(mean.data),
                 static_cast<float*>(rstd.data));
    c.max_pool(image(norm, h), image(out, h / 2));
  }
  std::int64_t b, h, m, ch;
  View up, sum, norm, mean, rstd;
};

}  // namespace

template <class T>
Peer make(const InteractionMergeForward<T>& p, StreamHandle stream) {
  const auto c = std::make_shared<Composition>(stream);
  const Merge<T> merge(*c, p.shape);
  merge.forward(*c, p.local, p.glob, p.gamma, p.beta, p.eps, dense(p.out, {1}));
  return Composition::finish(c);
}

template <class T>
Peer make(const InteractionMergeBackward<T>& p, StreamHandle stream) {
  const auto c = std::make_shared<Composition>(stream);
  const Merge<T> merge(*c, p.shape);
  const std::int64_t h = merge.h;
  const View out = c->scratch(kCudnnType<T>, {merge.b, h * h / 4, merge.ch}),
             dnorm = c->scratch(kCudnnType<T>, merge.pixels()),
             zero = c->constant(std::vector<float>(std::size_t(merge.ch)), {merge.ch});
  // beta moves no maximum and no gradient.
  merge.forward(*c, p.local, p.glob, p.gamma, static_cast<const float*>(zero.data), 1e-6f, out);
  c->run_and_forget();
  c->max_pool_backward(merge.image(out, h / 2), merge.image(dense(p.dout, {1}), h / 2),
                       merge.image(merge.norm, h), merge.image(dnorm, h));
  c->layer_norm_backward(merge.rows(dnorm), merge.rows(merge.sum), p.gamma,
                         static_cast<const float*>(merge.mean.data),
                         static_cast<const float*>(merge.rstd.data),
                         merge.rows(dense(p.dlocal, {1})), p.dgamma, p.dbeta);
  const View down = strided(merge.up, {1, merge.m * merge.m, h * h}, {0, 1, merge.m * merge.m});
  c->product(down, dense(p.dlocal, merge.pixels()),
             dense(p.dglob, {merge.b, merge.m * merge.m, merge.ch}));
  return Composition::finish(c);
}

template Peer make(const InteractionMergeForward<float>&, StreamHandle);
template Peer make(const InteractionMergeForward<bf16>&, StreamHandle);
template Peer make(const InteractionMergeBackward<float>&, StreamHandle);
template Peer make(const InteractionMergeBackward<bf16>&, StreamHandle);

}  // namespace hh::bench
