// SPDX-License-Identifier: Apache-2.0
// Mapping   A work item is a window, or some of its heads when windows are few. Forward keeps
//           queries in lanes: S^T, the softmax and O^T run down columns, without a horizontal
//           operation, and the interleaved output is a plain transpose of [d*H, N]. Backward keeps
//           keys in lanes for S and dP; dq, dk and dv have the elements of a head in lanes, so they
//           are written where they belong. All products are product() of small_product-inl.h.
// Traffic   qkv, out, dout and dqkv once each. Scores exist for at most 48 queries (forward) or
//           keys (backward) of a head at a time, in scratch of the thread.
// Numerics  float32; bf16 is widened when it is packed and rounded when it is stored. The scale and
//           log2(e) are folded into one factor, so the exponential is exp2. Every sum is in the
//           order of its index, so the items' distribution over threads can't show.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/window_attention_cpu.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels/attention/window_attention.h"
#include "kernels/core/check_workspace.h"
#include "kernels/core/math-inl.h"
#include "kernels/core/parallel.h"
#include "kernels/core/simd-inl.h"
#include "kernels/core/transpose-inl.h"
#include "kernels/core/workspace.h"
#include "kernels/gemm/small_product-inl.h"

#ifndef HH_WINDOW_ATTENTION_CPU_ONCE
#define HH_WINDOW_ATTENTION_CPU_ONCE
namespace hh::cpu {
namespace {

constexpr std::size_t kTile = 48;  // queries or keys of a tile at most: 3 vectors of 16

// Queries of a tile of backward: two tiles of scores fill the L1 cache. 64 was 3% slower.
constexpr std::size_t kChunk = 112;

inline std::size_t padded(std::size_t n) { return (n + 15) / 16 * 16; }

/// dp below is head_dim padded to 16, Np the tokens padded to 16, G the heads of an item.
struct ForwardScratch {
  ForwardScratch(const WindowAttentionShape& s, Workspace scratch) {
    const std::size_t n = s.tokens, d = s.head_dim, dp = padded(d);
    q = scratch.take<float>(d * kTile);
    scores = scratch.take<float>(n * kTile);
    keys = scratch.take<float>(n * dp);
    values = scratch.take<float>(n * dp);
    out = scratch.take<float>(s.heads == 1 ? kTile * dp : d * s.heads * padded(n));
    bytes = scratch.bytes();
  }
  float* q;              // [d, tile]  transposed, times the scale
  float* scores;         // [N, tile]  S^T, then exp(S - max)
  float *keys, *values;  // [N, dp]    packed, if they can't be read in place
  float* out;            // [d, G, Np] transposed outputs; one head: [tile, dp]
  std::size_t bytes;
};

struct BackwardScratch {
  BackwardScratch(const WindowAttentionShape& s, Workspace scratch) {
    const std::size_t n = s.tokens, d = s.head_dim, dp = padded(d);
    keys_t = scratch.take<float>(d * kTile);
    values_t = scratch.take<float>(d * kTile);
    p = scratch.take<float>(std::min(n, kChunk) * kTile);
    ds = scratch.take<float>(std::min(n, kChunk) * kTile);
    queries = scratch.take<float>(n * dp);
    keys = scratch.take<float>(n * dp);
    dout = scratch.take<float>(s.heads * n * dp);
    delta = scratch.take<float>(s.heads * padded(n));
    dq = scratch.take<float>(n * dp);
    dk = scratch.take<float>(kTile * dp);
    dv = scratch.take<float>(kTile * dp);
    bytes = scratch.bytes();
  }
  float *keys_t, *values_t;  // [d, tile]  transposed; keys times the scale
  float *p, *ds;             // [chunk, tile]
  float *queries, *keys;     // [N, dp]    packed, if they can't be read in place
  float* dout;               // [G, N, dp] heads apart
  float* delta;              // [G, Np]    D of the header
  float *dq, *dk, *dv;       // [N or tile, dp]  results that can't be written in place
  std::size_t bytes;
};

/// Work items (window, group of heads). Each thread has a slot of scratch.
struct Items {
  explicit Items(const WindowAttentionShape& s) : group(s.heads) {
    // Four heads are still 16 consecutive bytes of the interleaved arrays.
    while (group % 8 == 0 && s.windows * (s.heads / group) < 4 * num_threads()) group /= 2;
    count = s.windows * (s.heads / group);
  }
  template <class Body>  // (slot, window, first head)
  void run(const WindowAttentionShape& s, const Body& body) const {
    const int groups = s.heads / group;
    parallel_items(
        count, [&](int slot, std::int64_t i) { body(slot, i / groups, int(i % groups) * group); });
  }
  int group;
  std::int64_t count;
};

}  // namespace
}  // namespace hh::cpu
#endif  // HH_WINDOW_ATTENTION_CPU_ONCE

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {

using Wide = hn::ScalableTag<float>;
using Narrow = hn::CappedTag<float, 8>;  // for at most 8 tokens, or heads at most 8 wide

/// A matrix of floats in memory.
struct View {
  const float* data;
  std::size_t pitch;
};

struct Result {
  float* data;
  std::size_t pitch;
};

template <class D>
constexpr std::size_t lanes(D) {
  return hn::MaxLanes(D());
}
inline std::size_t ceil_div(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

/// Rows of `cols` floats, readable in whole vectors of De. In place if they are floats, end at a
/// vector's end and are few: many would fall into few sets of the cache, by their large pitch.
template <class De, class T>
View packed_rows(De de, const T* from, std::size_t pitch, std::size_t rows, std::size_t cols,
                 float* to) {
  constexpr std::size_t kFew = 64;
  if constexpr (std::is_same_v<T, float>) {
    if (rows <= kFew && cols % lanes(de) == 0) return {from, pitch};
  }
  const std::size_t to_pitch = padded(cols);
  for (std::size_t r = 0; r < rows; ++r) {
    std::size_t c = 0;
    for (; c + lanes(de) <= cols; c += lanes(de)) {
      hn::StoreU(load_f32(de, from + r * pitch + c), de, to + r * to_pitch + c);
    }
    if (c < cols) {
      hn::StoreU(load_f32_n(de, from + r * pitch + c, cols - c), de, to + r * to_pitch + c);
    }
  }
  return {to, to_pitch};
}

/// to[r, c] = from[r, c] * factor(r).
template <class De, class T, class Factor>
void store_rows(De de, View from, std::size_t rows, std::size_t cols, T* to, std::size_t pitch,
                const Factor& factor) {
  for (std::size_t r = 0; r < rows; ++r) {
    const auto scale = hn::Set(de, factor(r));
    std::size_t c = 0;
    for (; c + lanes(de) <= cols; c += lanes(de)) {
      const auto v = hn::LoadU(de, from.data + r * from.pitch + c);
      store_f32(de, hn::Mul(v, scale), to + r * pitch + c);
    }
    if (c < cols) {
      const auto v = hn::LoadU(de, from.data + r * from.pitch + c);
      store_f32_n(de, hn::Mul(v, scale), to + r * pitch + c, cols - c);
    }
  }
}

/// The tiles of n tokens: body(first token, vectors).
template <class D, class Body>
HWY_INLINE void for_each_tile(D d, std::size_t n, const Body& body) {
  in_even_parts(ceil_div(n, lanes(d)), [&](std::size_t first, std::size_t vectors)
                                           HWY_ATTR { body(first * lanes(d), vectors); });
}

/// For each column of s [n, width], scores times log2(e): s = exp2(s - max), and the rest of it.
template <class D>
void softmax_columns(D d, float* s, std::size_t n, std::size_t width, float* inverse_sum,
                     float* lse) {
  for (std::size_t x = 0; x < width; x += lanes(d)) {
    // Four rows at a time, so that neither maximum nor sum waits for its last step.
    hn::Vec<D> most[4], sum[4];
    for (auto& v : most) v = hn::LoadU(d, s + x);
    std::size_t r = 0;
    for (; r + 4 <= n; r += 4) {
      for (std::size_t i = 0; i < 4; ++i) {
        most[i] = hn::Max(most[i], hn::LoadU(d, s + (r + i) * width + x));
      }
    }
    for (; r < n; ++r) most[0] = hn::Max(most[0], hn::LoadU(d, s + r * width + x));
    const auto top = hn::Max(hn::Max(most[0], most[1]), hn::Max(most[2], most[3]));
    for (auto& v : sum) v = hn::Zero(d);
    for (r = 0; r + 4 <= n; r += 4) {
      for (std::size_t i = 0; i < 4; ++i) {
        float* at = s + (r + i) * width + x;
        const auto e = exp2_normal(d, hn::Sub(hn::LoadU(d, at), top));
        hn::StoreU(e, d, at);
        sum[i] = hn::Add(sum[i], e);
      }
    }
    for (; r < n; ++r) {
      const auto e = exp2_normal(d, hn::Sub(hn::LoadU(d, s + r * width + x), top));
      hn::StoreU(e, d, s + r * width + x);
      sum[0] = hn::Add(sum[0], e);
    }
    const auto total = hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3]));
    hn::StoreU(hn::Div(hn::Set(d, 1.0f), total), d, inverse_sum + x);
    hn::StoreU(hn::MulAdd(top, hn::Set(d, 0.693147181f), log(d, total)), d, lse + x);
  }
}

/// Brings what comes next into the second level of the cache, a few rows a call: q, k and v of the
/// following head, and a share of the output that the window's end writes. Their rows are short and
/// far apart, so the processor's own prefetching doesn't see them coming.
template <class T>
class FetchAhead {
 public:
  FetchAhead(const WindowAttentionForward<T>& p, std::int64_t window, int head)
      : bytes_(p.shape.head_dim * sizeof(T)), third_(p.shape.channels() * sizeof(T)) {
    const WindowAttentionShape& s = p.shape;
    const std::int64_t next = window * s.heads + head + 1;
    // Where a head is one tile, this cost 5 to 8 % more than it gained.
    if (s.tokens <= int(kTile) || next == s.windows * s.heads) return;
    rows_ = s.tokens;
    // A head's scores take at least tokens / kTile products of tokens / 8 blocks.
    rows_at_once_ = ceil_div(8 * kTile, rows_);
    qkv_ = reinterpret_cast<const char*>(p.qkv + next / s.heads * rows_ * 3 * s.channels() +
                                         next % s.heads * s.head_dim);
    out_ = reinterpret_cast<const char*>(p.out + window * rows_ * s.channels() + head * s.head_dim);
  }
  HWY_INLINE void operator()() {
    for (std::size_t i = 0; i < rows_at_once_ && rows_ > 0; ++i, --rows_) {
      for (std::size_t b = 0; b < bytes_; b += 64) {
        __builtin_prefetch(qkv_ + b, 0, 2);
        __builtin_prefetch(qkv_ + third_ + b, 0, 2);
        __builtin_prefetch(qkv_ + 2 * third_ + b, 0, 2);
        __builtin_prefetch(out_ + b, 1, 2);
      }
      qkv_ += 3 * third_;
      out_ += third_;
    }
  }

 private:
  std::size_t bytes_, third_, rows_ = 0, rows_at_once_ = 0;
  const char *qkv_ = nullptr, *out_ = nullptr;
};

template <class D, class De, class T>
void forward_item(D d, De de, const WindowAttentionForward<T>& p, const ForwardScratch& to,
                  std::int64_t window, int first_head, int group) {
  const std::size_t n = p.shape.tokens, width_of_head = p.shape.head_dim, heads = p.shape.heads,
                    channels = heads * width_of_head, pitch = 3 * channels, n_pitch = padded(n);
  const T* qkv = p.qkv + window * n * pitch;
  T* out = p.out + window * n * channels;
  const float scale = float(1.4426950408889634 / std::sqrt(double(width_of_head)));
  for (int g = 0; g < group; ++g) {
    const std::size_t head = first_head + g;
    const T* q = qkv + head * width_of_head;
    const View keys = packed_rows(de, q + channels, pitch, n, width_of_head, to.keys);
    const View values = packed_rows(de, q + 2 * channels, pitch, n, width_of_head, to.values);
    FetchAhead<T> fetch_ahead(p, window, int(head));
    for_each_tile(d, n, [&](std::size_t first, std::size_t vectors) HWY_ATTR {
      const std::size_t width = vectors * lanes(d), queries = std::min(width, n - first);
      const auto factor = hn::Set(d, scale);
      transpose<true>(d, q + first * pitch, pitch, queries, width_of_head, to.q, width,
                      [&](hn::Vec<D> v, std::size_t, std::size_t)
                          HWY_ATTR { return hn::Mul(v, factor); });
      product<Left::kRowsApart>(d,
                                {.rows = n,
                                 .depth = width_of_head,
                                 .vectors = vectors,
                                 .a = keys.data,
                                 .a_stride = keys.pitch,
                                 .b = to.q,
                                 .b_pitch = width,
                                 .c = to.scores,
                                 .c_pitch = width},
                                fetch_ahead);
      HWY_ALIGN float inverse_sum[kTile], lse[kTile];
      softmax_columns(d, to.scores, n, width, inverse_sum, lse);
      if (p.lse != nullptr) {
        std::copy_n(lse, queries, p.lse + (window * heads + head) * n + first);
      }
      if (heads == 1) {
        product<Left::kRowsTogether>(de, {.rows = queries,
                                          .depth = n,
                                          .vectors = ceil_div(width_of_head, lanes(de)),
                                          .a = to.scores,
                                          .a_stride = width,
                                          .b = values.data,
                                          .b_pitch = values.pitch,
                                          .c = to.out,
                                          .c_pitch = padded(width_of_head)});
        store_rows(de, {to.out, padded(width_of_head)}, queries, width_of_head,
                   out + first * channels, channels, [&](std::size_t r) { return inverse_sum[r]; });
      } else {
        product<Left::kRowsTogether>(d, {.rows = width_of_head,
                                         .depth = n,
                                         .vectors = vectors,
                                         .a = values.data,
                                         .a_stride = values.pitch,
                                         .b = to.scores,
                                         .b_pitch = width,
                                         .c = to.out + g * n_pitch + first,
                                         .c_pitch = group * n_pitch,
                                         .lane_scale = inverse_sum});
      }
    });
  }
  if (heads == 1) return;
  if (std::size_t(group) == heads) {
    transpose<false>(Wide(), to.out, n_pitch, channels, n, out, channels);
    return;
  }
  for (std::size_t e = 0; e < width_of_head; ++e) {
    transpose<false>(hn::CappedTag<float, 4>(), to.out + e * group * n_pitch, n_pitch, group, n,
                     out + e * heads + first_head, channels);
  }
}

/// delta[g, n] = sum_e out[n, e, first_head + g] dout[n, e, first_head + g].
template <class D, class T>
void row_dots(D d, const T* out, const T* dout, const WindowAttentionShape& s, int first_head,
              int group, float* delta) {
  const std::size_t n = s.tokens, heads = s.heads, channels = s.channels();
  std::fill_n(delta, group * padded(n), 0.0f);
  // Channels c and c + 4*period belong to the same head, so four channels are added up before
  // they are transposed. A part of the heads is whole fours (Items).
  const std::size_t period = heads % 4 == 0 ? heads / 4 : heads % 2 == 0 ? heads / 2 : heads;
  const bool all = std::size_t(group) == heads;
  const std::size_t begin = all ? 0 : first_head / 4, end = all ? period : begin + group / 4;
  for (std::size_t r = 0; r < n; r += lanes(d)) {
    for (std::size_t four = begin; four < end; ++four) {
      hn::Vec<D> sum[4], a[4], b[4];
      for (auto& v : sum) v = hn::Zero(d);
      for (std::size_t c = 4 * four; c < channels; c += 4 * period) {
        load_tile(d, out + r * channels + c, channels, n - r, channels - c, a);
        load_tile(d, dout + r * channels + c, channels, n - r, channels - c, b);
        for (std::size_t i = 0; i < 4; ++i) sum[i] = hn::MulAdd(a[i], b[i], sum[i]);
      }
      transpose_blocks(d, sum);
      for (std::size_t j = 0; j < 4; ++j) {
        float* at = delta + ((4 * four + j) % heads - first_head) * padded(n) + r;
        hn::StoreU(hn::Add(hn::LoadU(d, at), sum[j]), d, at);
      }
    }
  }
}

/// to[g, n, e] = dout[n, e, first_head + g], rows of e padded with zeros.
template <class De, class T>
void separate_heads(De de, const T* dout, const WindowAttentionShape& s, int first_head, int group,
                    float* to) {
  const std::size_t n = s.tokens, heads = s.heads, width = s.head_dim, pitch = padded(width);
  for (std::size_t r = 0; r < n; ++r) {
    const T* from = dout + r * s.channels() + first_head;
#if HWY_TARGET != HWY_SCALAR
    if (heads == 2 && width % lanes(de) == 0) {  // too narrow for transpose to be fast
      for (std::size_t e = 0; e < width; e += lanes(de)) {
        const auto low = load_f32(de, from + 2 * e), high = load_f32(de, from + 2 * e + lanes(de));
        hn::StoreU(hn::ConcatEven(de, high, low), de, to + r * pitch + e);
        hn::StoreU(hn::ConcatOdd(de, high, low), de, to + (n + r) * pitch + e);
      }
      continue;
    }
#endif
    transpose<true>(de, from, heads, width, group, to + r * pitch, n * pitch);
  }
}

/// s, scores times log2(e), becomes P, and dp becomes scale * P * (dP - delta), for a tile of rows.
template <class D>
void score_gradients(D d, std::size_t rows, std::size_t width, const float* lse, const float* delta,
                     float scale, float* HWY_RESTRICT s, float* HWY_RESTRICT dp) {
  const auto log2e = hn::Set(d, 1.44269504f), factor = hn::Set(d, scale);
  for (std::size_t r = 0; r < rows; ++r) {
    const auto log_sum = hn::Set(d, lse[r]), row_delta = hn::Set(d, delta[r]);
    for (std::size_t x = r * width; x < (r + 1) * width; x += lanes(d)) {
      // lse is scaled in one rounding with the difference: its own would be seen when it is large.
      const auto p = exp2_normal(d, hn::NegMulAdd(log2e, log_sum, hn::LoadU(d, s + x)));
      const auto centred = hn::Sub(hn::LoadU(d, dp + x), row_delta);
      hn::StoreU(p, d, s + x);
      hn::StoreU(hn::Mul(hn::Mul(p, factor), centred), d, dp + x);
    }
  }
}

/// to.p = query keys_t and to.ds = grad values_t: the scores and dP of some queries and a tile of
/// `vectors` of keys.
template <class D>
HWY_INLINE void tile_scores(D d, const BackwardScratch& to, std::size_t queries,
                            std::size_t width_of_head, std::size_t vectors, View query, View grad) {
  const std::size_t width = vectors * lanes(d);
  Product scores{.rows = queries, .depth = width_of_head, .vectors = vectors};
  scores.b_pitch = scores.c_pitch = width;
  scores.a = query.data, scores.a_stride = query.pitch;
  scores.b = to.keys_t;
  scores.c = to.p;
  product<Left::kRowsApart>(d, scores);
  scores.a = grad.data, scores.a_stride = grad.pitch;
  scores.b = to.values_t;
  scores.c = to.ds;
  product<Left::kRowsApart>(d, scores);
}

/// A tile of P and dS: some queries and some keys, rows `width` floats apart.
struct ScoreTile {
  std::size_t queries, keys, width;
};

/// dq (+)= dS keys, dk (+)= dS^T query, dv (+)= P^T grad, from to.p and to.ds.
template <class De>
HWY_INLINE void add_tile_gradients(De de, const BackwardScratch& to, ScoreTile tile,
                                   std::size_t vectors_of_head, View keys, View query, View grad,
                                   bool add_dq, bool add_dk_dv, Result dq, Result dk, Result dv) {
  product<Left::kRowsApart>(de, {.rows = tile.queries,
                                 .depth = tile.keys,
                                 .vectors = vectors_of_head,
                                 .a = to.ds,
                                 .a_stride = tile.width,
                                 .b = keys.data,
                                 .b_pitch = keys.pitch,
                                 .c = dq.data,
                                 .c_pitch = dq.pitch,
                                 .add = add_dq});
  Product of_keys{.rows = tile.keys, .depth = tile.queries, .vectors = vectors_of_head};
  of_keys.add = add_dk_dv;
  of_keys.a = to.ds, of_keys.a_stride = tile.width;
  of_keys.b = query.data, of_keys.b_pitch = query.pitch;
  of_keys.c = dk.data, of_keys.c_pitch = dk.pitch;
  product<Left::kRowsTogether>(de, of_keys);
  of_keys.a = to.p;
  of_keys.b = grad.data, of_keys.b_pitch = grad.pitch;
  of_keys.c = dv.data, of_keys.c_pitch = dv.pitch;
  product<Left::kRowsTogether>(de, of_keys);
}

/// Has the arrays of the next window brought into the second level of the cache, where windows are small
/// and many: one is over before the processor's own prefetching has seen where it begins.
template <class T>
HWY_INLINE void fetch_next_window(const WindowAttentionBackward<T>& p, std::int64_t window) {
  const WindowAttentionShape& s = p.shape;
  const std::int64_t channels = std::int64_t{s.tokens} * s.channels();
  const std::int64_t line = 64 / sizeof(T);
  // Elements of `out`: below, all arrays are in the cache already. Or a window lasts long enough.
  constexpr std::int64_t kMany = 3 << 16, kSmall = 4096;
  if (window + 1 == s.windows || channels > kSmall || channels * s.windows <= kMany) return;
  const T* const qkv = p.qkv + (window + 1) * 3 * channels;
  const T* const dqkv = p.dqkv + (window + 1) * 3 * channels;
  for (std::int64_t i = 0; i < 3 * channels; i += line) {
    __builtin_prefetch(qkv + i, 0, 2);
    __builtin_prefetch(dqkv + i, 1, 2);
  }
  for (std::int64_t i = 0; i < channels; i += line) {
    __builtin_prefetch(p.out + (window + 1) * channels + i, 0, 2);
    __builtin_prefetch(p.dout + (window + 1) * channels + i, 0, 2);
  }
}

template <class D, class De, class T>
void backward_item(D d, De de, const WindowAttentionBackward<T>& p, const BackwardScratch& to,
                   std::int64_t window, int first_head, int group) {
  const std::size_t n = p.shape.tokens, width_of_head = p.shape.head_dim, heads = p.shape.heads,
                    channels = heads * width_of_head, pitch = 3 * channels,
                    own_pitch = padded(width_of_head),
                    vectors_of_head = ceil_div(width_of_head, lanes(de));
  const T* qkv = p.qkv + window * n * pitch;
  T* dqkv = p.dqkv + window * n * pitch;
  const T* dout = p.dout + window * n * channels;
  const float scale = float(1 / std::sqrt(double(width_of_head)));
  const float scale2 = float(1.4426950408889634 / std::sqrt(double(width_of_head)));
  const bool in_place = std::is_same_v<T, float> && width_of_head % lanes(de) == 0;

  if (std::size_t(group) == heads) fetch_next_window(p, window);
  row_dots(d, p.out + window * n * channels, dout, p.shape, first_head, group, to.delta);
  if (heads > 1) separate_heads(de, dout, p.shape, first_head, group, to.dout);
  for (int g = 0; g < group; ++g) {
    const std::size_t head = first_head + g;
    const T* q = qkv + head * width_of_head;
    T* dq = dqkv + head * width_of_head;
    const float* lse = p.lse + (window * heads + head) * n;
    const float* delta = to.delta + g * padded(n);
    const View queries = packed_rows(de, q, pitch, n, width_of_head, to.queries);
    const View keys = packed_rows(de, q + channels, pitch, n, width_of_head, to.keys);
    const View douts = heads == 1 ? packed_rows(de, dout, channels, n, width_of_head, to.dout)
                                  : View{to.dout + g * n * own_pitch, own_pitch};
    // Where the products write their results: where they belong, or to scratch.
    const auto result = [&](T* here, float* scratch) {
      if constexpr (std::is_same_v<T, float>) {
        if (in_place) return Result{here, pitch};
      }
      return Result{scratch, own_pitch};
    };
    const auto finish = [&](float* scratch, std::size_t rows, T* here) {
      if (in_place) return;
      store_rows(de, {scratch, own_pitch}, rows, width_of_head, here, pitch,
                 [](std::size_t) { return 1.0f; });
    };

    for_each_tile(d, n, [&](std::size_t first, std::size_t vectors) HWY_ATTR {
      const std::size_t width = vectors * lanes(d), keys_here = std::min(width, n - first);
      const auto factor = hn::Set(d, scale2);
      transpose<true>(
          d, q + channels + first * pitch, pitch, keys_here, width_of_head, to.keys_t, width,
          [&](hn::Vec<D> v, std::size_t, std::size_t) HWY_ATTR { return hn::Mul(v, factor); });
      transpose<true>(d, q + 2 * channels + first * pitch, pitch, keys_here, width_of_head,
                      to.values_t, width);
      T* dk = dq + channels + first * pitch;
      T* dv = dk + channels;
      const Result dq_to = result(dq, to.dq), dk_to = result(dk, to.dk), dv_to = result(dv, to.dv);
      for (std::size_t r = 0; r < n; r += kChunk) {
        const std::size_t chunk = std::min(kChunk, n - r);
        const View query{queries.data + r * queries.pitch, queries.pitch};
        const View grad{douts.data + r * douts.pitch, douts.pitch};
        tile_scores(d, to, chunk, width_of_head, vectors, query, grad);
        score_gradients(d, chunk, width, lse + r, delta + r, scale, to.p, to.ds);
        add_tile_gradients(de, to, {.queries = chunk, .keys = keys_here, .width = width},
                           vectors_of_head, {keys.data + first * keys.pitch, keys.pitch}, query,
                           grad, first > 0, r > 0, {dq_to.data + r * dq_to.pitch, dq_to.pitch},
                           dk_to, dv_to);
      }
      finish(to.dk, keys_here, dk);
      finish(to.dv, keys_here, dv);
    });
    finish(to.dq, n, dq);
  }
}

/// Calls body(tag for tokens, tag for elements of a head).
template <class Body>
void with_tags(const WindowAttentionShape& s, const Body& body) {
  const auto then = [&](auto d) {
    if (s.head_dim <= 8) return body(d, Narrow());
    return body(d, Wide());
  };
  if (s.tokens <= 8) return then(Narrow());
  return then(Wide());
}

template <class T>
void forward(const WindowAttentionForward<T>& p) {
  const Items items(p.shape);
  with_tags(p.shape, [&](auto d, auto de) {
    items.run(p.shape, [&](std::int64_t slot, std::int64_t window, int first_head) {
      const std::size_t each = ForwardScratch(p.shape, Workspace(nullptr)).bytes;
      const ForwardScratch scratch(p.shape, Workspace::piece(p.workspace, slot, each));
      forward_item(d, de, p, scratch, window, first_head, items.group);
    });
  });
}

template <class T>
void backward(const WindowAttentionBackward<T>& p) {
  const Items items(p.shape);
  with_tags(p.shape, [&](auto d, auto de) {
    items.run(p.shape, [&](std::int64_t slot, std::int64_t window, int first_head) {
      const std::size_t each = BackwardScratch(p.shape, Workspace(nullptr)).bytes;
      const BackwardScratch scratch(p.shape, Workspace::piece(p.workspace, slot, each));
      backward_item(d, de, p, scratch, window, first_head, items.group);
    });
  });
}

void forward_f32(const WindowAttentionForward<float>& p) { forward(p); }
void forward_bf16(const WindowAttentionForward<bf16>& p) { forward(p); }
void backward_f32(const WindowAttentionBackward<float>& p) { backward(p); }
void backward_bf16(const WindowAttentionBackward<bf16>& p) { backward(p); }

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::cpu {
namespace {

HWY_EXPORT(forward_f32);
HWY_EXPORT(forward_bf16);
HWY_EXPORT(backward_f32);
HWY_EXPORT(backward_bf16);

/// One token: P is 1, so the value passes, and its gradient, with no rounding.
template <class T>
void forward_one_token(const WindowAttentionForward<T>& p) {
  const std::int64_t heads = p.shape.heads, d = p.shape.head_dim, channels = heads * d;
  const float scale = float(1 / std::sqrt(double(d)));
  parallel_for(p.shape.windows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t w = begin; w < end; ++w) {
      const T* q = p.qkv + w * 3 * channels;
      for (std::int64_t h = 0; h < heads; ++h) {
        float score = 0;
        for (std::int64_t c = h * d; c < (h + 1) * d; ++c) {
          score += to_float(q[c]) * to_float(q[channels + c]);
          p.out[w * channels + (c - h * d) * heads + h] = q[2 * channels + c];
        }
        if (p.lse != nullptr) p.lse[w * heads + h] = score * scale;
      }
    }
  });
}

template <class T>
void backward_one_token(const WindowAttentionBackward<T>& p) {
  const std::int64_t heads = p.shape.heads, d = p.shape.head_dim, channels = heads * d;
  parallel_for(p.shape.windows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t w = begin; w < end; ++w) {
      T* dqkv = p.dqkv + w * 3 * channels;
      std::fill_n(dqkv, 2 * channels, T{});
      for (std::int64_t h = 0; h < heads; ++h) {
        for (std::int64_t e = 0; e < d; ++e) {
          dqkv[2 * channels + h * d + e] = p.dout[w * channels + e * heads + h];
        }
      }
    }
  });
}

}  // namespace

template <class T>
void run(const WindowAttentionForward<T>& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  if (p.shape.tokens == 1) return forward_one_token(p);
  if constexpr (std::is_same_v<T, float>) {
    HWY_DYNAMIC_DISPATCH(forward_f32)(p);
  } else {
    HWY_DYNAMIC_DISPATCH(forward_bf16)(p);
  }
}

template <class T>
void run(const WindowAttentionBackward<T>& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  if (p.shape.tokens == 1) return backward_one_token(p);
  if constexpr (std::is_same_v<T, float>) {
    HWY_DYNAMIC_DISPATCH(backward_f32)(p);
  } else {
    HWY_DYNAMIC_DISPATCH(backward_bf16)(p);
  }
}

template <class T>
std::size_t workspace_bytes(const WindowAttentionForward<T>& p) {
  return ForwardScratch(p.shape, Workspace(nullptr)).bytes * std::size_t(num_threads());
}
template <class T>
std::size_t workspace_bytes(const WindowAttentionBackward<T>& p) {
  return BackwardScratch(p.shape, Workspace(nullptr)).bytes * std::size_t(num_threads());
}

template void run(const WindowAttentionForward<float>&);
template void run(const WindowAttentionForward<bf16>&);
template void run(const WindowAttentionBackward<float>&);
template void run(const WindowAttentionBackward<bf16>&);
template std::size_t workspace_bytes(const WindowAttentionForward<float>&);
template std::size_t workspace_bytes(const WindowAttentionForward<bf16>&);
template std::size_t workspace_bytes(const WindowAttentionBackward<float>&);
template std::size_t workspace_bytes(const WindowAttentionBackward<bf16>&);

}  // namespace hh::cpu
#endif  // HWY_ONCE
