// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "bench/peers/make.h"
#include "kernels/attention/window_attention.h"

namespace hh::bench {
namespace {

/// The parts of the composition's arrays, all [W, H, N, d] or [W, H, N, N].
struct Parts {
  const WindowAttentionShape& s;
  std::int64_t w = s.windows, h = s.heads, n = s.tokens, d = s.head_dim;
  Extents head{w, h, n, d}, scores{w, h, n, n}, row{w, h, n, 1};

  /// q (0), k (1) or v (2) of qkv or its gradient.
  template <class T>
  View of(const T* qkv, int which) const {
    return strided(dense(qkv + which * h * d, {1}), head, {n * 3 * h * d, d, 3 * h * d, 1});
  }
  /// Out, whose heads are interleaved last.
  template <class T>
  View interleaved(const T* out) const {
    return strided(dense(out, {1}), head, {n * h * d, 1, h * d, h});
  }
  View rows(const View& v) const { return dense(v.data, v.type, {w * h * n, n}); }
  float scale() const { return 1 / std::sqrt(float(d)); }
};

/// q scaled, and P = softmax(q k^T): three calls.
template <class T>
void probabilities(Composition& c, const Parts& parts, const T* qkv, const View& q, const View& p) {
  c.binary(Binary::kMultiply, parts.of(qkv, 0), parts.scale(), q);
  c.product(q, transposed(parts.of(qkv, 1)), p);
  c.softmax(parts.rows(p), parts.rows(p));
}

}  // namespace

template <class T>
Peer make(const WindowAttentionForward<T>& a, StreamHandle stream) {
  const auto c = std::make_shared<Composition>(stream);
  const Parts parts{a.shape};
  const View q = c->scratch(kCudnnType<T>, parts.head), p = c->scratch(kCudnnType<T>, parts.scores),
             out = c->scratch(kCudnnType<T>, parts.head);
  probabilities(*c, parts, a.qkv, q, p);
  c->product(p, parts.of(a.qkv, 2), out);
  c->copy(out, parts.interleaved(a.out));
  return Composition::finish(c);
}

/// Forward leaves P behind, as a framework that doesn't fuse does: N x N values a head.
template <class T>
Peer make(const WindowAttentionBackward<T>& a, StreamHandle stream) {
  const auto c = std::make_shared<Composition>(stream);
  const Parts parts{a.shape};
  const auto type = kCudnnType<T>;
  const View q = c->scratch(type, parts.head), p = c->scratch(type, parts.scores),
             dout = c->scratch(type, parts.head), dp = c->scratch(type, parts.scores);
  const View k = parts.of(a.qkv, 1), v = parts.of(a.qkv, 2), dq = parts.of(a.dqkv, 0);
  probabilities(*c, parts, a.qkv, q, p);
  c->run_and_forget();
  c->copy(parts.interleaved(a.dout), dout);
  c->product(transposed(p), dout, parts.of(a.dqkv, 2));
  c->product(dout, transposed(v), dp);
  c->softmax_backward(parts.rows(p), parts.rows(dp), parts.rows(dp));
  c->product(dp, k, dq);
  c->binary(Binary::kMultiply, dq, parts.scale(), dq);
  c->product(transposed(dp), q, parts.of(a.dqkv, 1));
  return Composition::finish(c);
}

template <class T>
Peer make_library(const WindowAttentionForward<T>& a, StreamHandle stream) {
  if (std::is_same_v<T, float>) return {};  // cuDNN has it for narrow types
  const auto c = std::make_shared<Composition>(stream);
  const Parts parts{a.shape};
  const View out = c->scratch(kCudnnType<T>, parts.head);
  c->attention(
      parts.of(a.qkv, 0), parts.of(a.qkv, 1), parts.of(a.qkv, 2), parts.scale(), out,
      a.lse != nullptr ? dense(a.lse, parts.row) : c->scratch(CUDNN_DATA_FLOAT, parts.row));
  c->copy(out, parts.interleaved(a.out));
  return Composition::finish(c);
}

template Peer make(const WindowAttentionForward<float>&, StreamHandle);
template Peer make(const WindowAttentionForward<bf16>&, StreamHandle);
template Peer make(const WindowAttentionBackward<float>&, StreamHandle);
template Peer make(const WindowAttentionBackward<bf16>&, StreamHandle);
template Peer make_library(const WindowAttentionForward<float>&, StreamHandle);
template Peer make_library(const WindowAttentionForward<bf16>&, StreamHandle);

}  // namespace hh::bench
