// SPDX-License-Identifier: Apache-2.0
// Window attention for every size and all three types, in float32 arithmetic.
//
// Mapping   A block of 128 threads takes 32 rows of one window and head: queries in forward and for
//           dq, keys for dk and dv. It passes over the others in tiles of 32. A thread has 2 rows,
//           and 4 columns of a tile of scores or 1/8 of the row's d columns of a result; a row's 8
//           threads are in one warp, so the scores' way through shared memory needs no barrier.
// Traffic   The block's own rows once, the other rows once for each block. The interleaved arrays
//           are accessed with a stride of H elements.
// Numerics  Online softmax. The scale and log2(e) are one factor, so the exponential is exp2. All
//           sums in a fixed order; D of the header is written to the workspace by the pass of dq.
#pragma once
#include "kernels/attention/window_attention.h"
#include "kernels/core/device.cuh"
#include "kernels/core/launch.cuh"

namespace hh::gpu {
namespace attention_general {

constexpr int kThreads = 128;
constexpr int kTile = 32;
constexpr int kRows = 2;        // of a thread: y and y + 16
constexpr int kRowThreads = 8;  // x = 0..7
constexpr int kScores = kTile / kRowThreads;
constexpr int kScorePitch = kTile + 8;  // rows of a warp's 4 y fall into 4 groups of 8 banks
constexpr float kLog2e = 1.44269504f, kLn2 = 0.693147181f;

/// Rows of head_dim elements somewhere in a packed array.
template <class T>
struct Matrix {
  T* data;
  std::int64_t pitch;  // from row to row
  int step;            // from element to element
};

/// q, k, v (which = 0, 1, 2) of a head.
template <class T>
__device__ Matrix<T> qkv_rows(T* qkv, const WindowAttentionShape& s, std::int64_t window, int head,
                              int which) {
  const std::int64_t c = s.heads * s.head_dim;
  return {qkv + window * s.tokens * 3 * c + which * c + head * s.head_dim, 3 * c, 1};
}
/// The head's part of out or dout.
template <class T>
__device__ Matrix<T> out_rows(T* out, const WindowAttentionShape& s, std::int64_t window,
                              int head) {
  const std::int64_t c = s.heads * s.head_dim;
  return {out + window * s.tokens * c + head, c, s.heads};
}

/// kTile rows of kD floats. The pitch is 4 more than a multiple of 8 words: 8 rows read at the same
/// column, 16 bytes each, fall into different banks.
template <int kD>
struct Tile {
  static constexpr int kPitch = kD + 4;
  float v[kTile * kPitch];

  /// Rows first, first + 1, ...; zeros past `rows` and head_dim.
  template <class T>
  __device__ void load(const Matrix<T>& from, int first, int rows, int head_dim) {
    for (int i = threadIdx.x; i < kTile * kD; i += kThreads) {
      const int r = i / kD, e = i % kD;
      const bool inside = first + r < rows && e < head_dim;
      v[r * kPitch + e] =
          inside ? widen(from.data[(first + r) * from.pitch + std::int64_t{e} * from.step]) : 0.0f;
    }
  }
  __device__ const float4& at(int r, int e) const {
    return *reinterpret_cast<const float4*>(v + r * kPitch + e);
  }
};

struct Thread {
  int x = int(threadIdx.x) % kRowThreads, y = int(threadIdx.x) / kRowThreads;
  __device__ int row(int i) const { return y + i * (kTile / kRows); }
  __device__ int column(int j) const { return x + j * kRowThreads; }
};

/// scores[i][j] = a(row i) . b(column j)
template <int kD>
__device__ void dot_rows(const Thread& at, const Tile<kD>& a, const Tile<kD>& b,
                         float (&scores)[kRows][kScores]) {
#pragma unroll
  for (auto& row : scores) {
#pragma unroll
    for (float& s : row) s = 0;
  }
#pragma unroll 4
  for (int e = 0; e < kD; e += 4) {
    float4 left[kRows], right[kScores];
#pragma unroll
    for (int i = 0; i < kRows; ++i) left[i] = a.at(at.row(i), e);
#pragma unroll
    for (int j = 0; j < kScores; ++j) right[j] = b.at(at.column(j), e);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < kScores; ++j) {
        scores[i][j] = fmaf(left[i].x, right[j].x, scores[i][j]);
        scores[i][j] = fmaf(left[i].y, right[j].y, scores[i][j]);
        scores[i][j] = fmaf(left[i].z, right[j].z, scores[i][j]);
        scores[i][j] = fmaf(left[i].w, right[j].w, scores[i][j]);
      }
    }
  }
}

/// A thread's part of [kTile, kD] results: columns kVec*x + 8*kVec*j onwards.
template <int kD>
struct Sums {
  static constexpr int kVec = kD < 32 ? kD / kRowThreads : 4;
  static constexpr int kParts = kD / kRowThreads / kVec;
  float v[kRows][kParts][kVec] = {};

  /// += weights [kTile, kTile] times b.
  __device__ void add_product(const Thread& at, const float* weights, const Tile<kD>& b) {
#pragma unroll 2
    for (int c = 0; c < kTile; c += 4) {
      float w[kRows][4];
#pragma unroll
      for (int i = 0; i < kRows; ++i) load_floats<4>(weights + at.row(i) * kScorePitch + c, w[i]);
#pragma unroll
      for (int k = 0; k < 4; ++k) {
#pragma unroll
        for (int j = 0; j < kParts; ++j) {
          float right[kVec];
          load_floats<kVec>(b.v + (c + k) * Tile<kD>::kPitch + kVec * (at.x + kRowThreads * j),
                            right);
#pragma unroll
          for (int i = 0; i < kRows; ++i) {
#pragma unroll
            for (int l = 0; l < kVec; ++l) v[i][j][l] = fmaf(w[i][k], right[l], v[i][j][l]);
          }
        }
      }
    }
  }

  __device__ void scale(int row, float factor) {
#pragma unroll
    for (auto& part : v[row]) {
#pragma unroll
      for (float& x : part) x *= factor;
    }
  }

  template <class T>
  __device__ void store(const Thread& at, const Matrix<T>& to, int first, int rows,
                        int head_dim) const {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int row = first + at.row(i);
      if (row >= rows) continue;
#pragma unroll
      for (int j = 0; j < kParts; ++j) {
#pragma unroll
        for (int l = 0; l < kVec; ++l) {
          const int e = kVec * (at.x + kRowThreads * j) + l;
          if (e < head_dim) {
            to.data[row * to.pitch + std::int64_t{e} * to.step] = narrow<T>(v[i][j][l]);
          }
        }
      }
    }
  }
};

/// Over the 8 threads of a row.
__device__ inline float row_max(float v) {
#pragma unroll
  for (int step = kRowThreads / 2; step > 0; step /= 2) {
    v = fmaxf(v, __shfl_xor_sync(kFullMask, v, step));
  }
  return v;
}
__device__ inline float row_sum(float v) {
#pragma unroll
  for (int step = kRowThreads / 2; step > 0; step /= 2) v += __shfl_xor_sync(kFullMask, v, step);
  return v;
}

/// A block's window, head and first row.
struct Place {
  __device__ explicit Place(const WindowAttentionShape& s) {
    const int tiles = ceil_div(s.tokens, kTile);
    const auto item = std::int64_t{blockIdx.x} / tiles;
    first = int(blockIdx.x % unsigned(tiles)) * kTile;
    window = item / s.heads;
    head = int(item % s.heads);
    row = item * s.tokens;
  }
  std::int64_t window, row;  // row of lse and D
  int head, first;
};

template <int kD>
struct ForwardMemory {
  Tile<kD> q, k, v;
  float p[kTile * kScorePitch];
};

template <class T, int kD>
__global__ void __launch_bounds__(kThreads, 4)
    window_attention_forward_kernel(const WindowAttentionForward<T> p, float scale_log2) {
  extern __shared__ float4 shared[];
  auto& memory = *reinterpret_cast<ForwardMemory<kD>*>(shared);
  const int n = p.shape.tokens, d = p.shape.head_dim;
  const Place place(p.shape);
  const Thread at;
  const auto k = qkv_rows(p.qkv, p.shape, place.window, place.head, 1);
  const auto v = qkv_rows(p.qkv, p.shape, place.window, place.head, 2);
  memory.q.load(qkv_rows(p.qkv, p.shape, place.window, place.head, 0), place.first, n, d);

  Sums<kD> out;
  float most[kRows], sum[kRows];
#pragma unroll
  for (int i = 0; i < kRows; ++i) most[i] = -INFINITY, sum[i] = 0;
  for (int first = 0; first < n; first += kTile) {
    __syncthreads();  // the tile before has been used
    memory.k.load(k, first, n, d);
    memory.v.load(v, first, n, d);
    __syncthreads();
    float s[kRows][kScores];
    dot_rows(at, memory.q, memory.k, s);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      float top = most[i];
#pragma unroll
      for (int j = 0; j < kScores; ++j) {
        s[i][j] = first + at.column(j) < n ? s[i][j] * scale_log2 : -INFINITY;
        top = fmaxf(top, s[i][j]);
      }
      top = row_max(top);
      const float shrink = exp2f(most[i] - top);
      most[i] = top;
      sum[i] *= shrink;
      out.scale(i, shrink);
#pragma unroll
      for (int j = 0; j < kScores; ++j) {
        const float e = exp2f(s[i][j] - top);
        sum[i] += e;
        memory.p[at.row(i) * kScorePitch + at.column(j)] = e;
      }
    }
    __syncwarp();
    out.add_product(at, memory.p, memory.v);
  }
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    sum[i] = row_sum(sum[i]);
    out.scale(i, 1 / sum[i]);
    const int row = place.first + at.row(i);
    if (p.lse != nullptr && at.x == 0 && row < n) {
      p.lse[place.row + row] = fmaf(most[i], kLn2, logf(sum[i]));
    }
  }
  out.store(at, out_rows(p.out, p.shape, place.window, place.head), place.first, n, d);
}

/// kOfKeys: the block's own rows are keys, else queries.
template <int kD, bool kOfKeys>
struct BackwardMemory {
  // Own and other: queries and dout, or keys and values.
  Tile<kD> own_a, own_b, other_a, other_b;
  float ds[kTile * kScorePitch];
  float p[kOfKeys ? kTile * kScorePitch : 1];
  float lse[kTile], delta[kTile];  // of the queries; lse times log2(e)
};

template <class T, int kD, bool kOfKeys>
__global__ void __launch_bounds__(kThreads)
    window_attention_backward_kernel(const WindowAttentionBackward<T> p, float scale,
                                     float scale_log2, float* delta) {
  extern __shared__ float4 shared[];
  auto& memory = *reinterpret_cast<BackwardMemory<kD, kOfKeys>*>(shared);
  const int n = p.shape.tokens, d = p.shape.head_dim;
  const Place place(p.shape);
  const Thread at;
  const auto q = qkv_rows(p.qkv, p.shape, place.window, place.head, 0);
  const auto k = qkv_rows(p.qkv, p.shape, place.window, place.head, 1);
  const auto v = qkv_rows(p.qkv, p.shape, place.window, place.head, 2);
  const auto dout = out_rows(p.dout, p.shape, place.window, place.head);

  memory.own_a.load(kOfKeys ? k : q, place.first, n, d);
  memory.own_b.load(kOfKeys ? v : dout, place.first, n, d);
  if constexpr (!kOfKeys) {  // four threads for each row of out
    const auto out = out_rows(p.out, p.shape, place.window, place.head);
    const int r = int(threadIdx.x) / 4, row = place.first + r;
    float sum = 0;
    __syncthreads();
    if (row < n) {
      for (int e = int(threadIdx.x) % 4; e < d; e += 4) {
        sum = fmaf(widen(out.data[row * out.pitch + std::int64_t{e} * out.step]),
                   memory.own_b.v[r * Tile<kD>::kPitch + e], sum);
      }
    }
    sum += __shfl_xor_sync(kFullMask, sum, 1);
    sum += __shfl_xor_sync(kFullMask, sum, 2);
    if (threadIdx.x % 4 == 0) {
      memory.delta[r] = sum;
      memory.lse[r] = row < n ? p.lse[place.row + row] * kLog2e : 0;
      if (row < n) delta[place.row + row] = sum;
    }
  }

  Sums<kD> first_sums, second_sums;  // dq; or dk and dv
  for (int first = 0; first < n; first += kTile) {
    __syncthreads();
    memory.other_a.load(kOfKeys ? q : k, first, n, d);
    memory.other_b.load(kOfKeys ? dout : v, first, n, d);
    if (kOfKeys && threadIdx.x < kTile) {
      const int row = first + int(threadIdx.x);
      memory.delta[threadIdx.x] = row < n ? delta[place.row + row] : 0;
      memory.lse[threadIdx.x] = row < n ? p.lse[place.row + row] * kLog2e : 0;
    }
    __syncthreads();
    float s[kRows][kScores], dp[kRows][kScores];
    dot_rows(at, memory.own_a, memory.other_a, s);
    dot_rows(at, memory.own_b, memory.other_b, dp);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < kScores; ++j) {
        const int r = at.row(i), c = at.column(j), query = kOfKeys ? c : r;
        const bool inside = first + c < n;
        // One key: P is 1 and dS is 0, whatever the rounding.
        const float e = !inside  ? 0
                        : n == 1 ? 1
                                 : exp2f(fmaf(s[i][j], scale_log2, -memory.lse[query]));
        if constexpr (kOfKeys) memory.p[r * kScorePitch + c] = e;
        memory.ds[r * kScorePitch + c] =
            inside && n != 1 ? e * (dp[i][j] - memory.delta[query]) * scale : 0;
      }
    }
    __syncwarp();
    first_sums.add_product(at, memory.ds, memory.other_a);
    if constexpr (kOfKeys) second_sums.add_product(at, memory.p, memory.other_b);
  }
  first_sums.store(at, qkv_rows(p.dqkv, p.shape, place.window, place.head, kOfKeys ? 1 : 0),
                   place.first, n, d);
  if constexpr (kOfKeys) {
    second_sums.store(at, qkv_rows(p.dqkv, p.shape, place.window, place.head, 2), place.first, n,
                      d);
  }
}

inline std::int64_t blocks(const WindowAttentionShape& s) {
  return s.windows * s.heads * ceil_div(s.tokens, kTile);
}

template <int kD, class T>
void forward_of_width(const WindowAttentionForward<T>& p, StreamHandle stream) {
  const float scale_log2 = kLog2e / std::sqrt(float(p.shape.head_dim));
  launch(window_attention_forward_kernel<T, kD>, blocks(p.shape), kThreads,
         sizeof(ForwardMemory<kD>), stream, p, scale_log2);
}

template <int kD, class T>
void backward_of_width(const WindowAttentionBackward<T>& p, StreamHandle stream) {
  const float scale = 1 / std::sqrt(float(p.shape.head_dim)), scale_log2 = scale * kLog2e;
  auto* delta = static_cast<float*>(p.workspace);
  launch(window_attention_backward_kernel<T, kD, false>, blocks(p.shape), kThreads,
         sizeof(BackwardMemory<kD, false>), stream, p, scale, scale_log2, delta);
  launch(window_attention_backward_kernel<T, kD, true>, blocks(p.shape), kThreads,
         sizeof(BackwardMemory<kD, true>), stream, p, scale, scale_log2, delta);
}

template <class T>
void forward(const WindowAttentionForward<T>& p, StreamHandle stream) {
  if (p.shape.head_dim <= 16) return forward_of_width<16>(p, stream);
  if (p.shape.head_dim <= 32) return forward_of_width<32>(p, stream);
  if (p.shape.head_dim <= 64) return forward_of_width<64>(p, stream);
  return forward_of_width<128>(p, stream);
}
template <class T>
void backward(const WindowAttentionBackward<T>& p, StreamHandle stream) {
  if (p.shape.head_dim <= 16) return backward_of_width<16>(p, stream);
  if (p.shape.head_dim <= 32) return backward_of_width<32>(p, stream);
  if (p.shape.head_dim <= 64) return backward_of_width<64>(p, stream);
  return backward_of_width<128>(p, stream);
}

}  // namespace attention_general
}  // namespace hh::gpu
