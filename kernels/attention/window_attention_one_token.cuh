// SPDX-License-Identifier: Apache-2.0
// Windows of one token, as the hash layer's pooled map: out is v and dv is dout, in the other's order
// of heads; dq and dk are zero.
//
// Mapping   A block has a window, a warp a head's score, a thread a channel.
// Traffic   all of it once, v or dout in steps of a row of heads: small, from L2.
#pragma once
#include <cmath>

#include "kernels/attention/window_attention.h"
#include "kernels/core/device.cuh"

namespace hh::gpu {
namespace attention_one_token {

constexpr int kThreads = 256, kWarps = kThreads / kWarpSize;

template <class T>
__global__ void __launch_bounds__(kThreads)
    window_attention_one_token_forward_kernel(const WindowAttentionForward<T> p,
                                              const float scale) {
  const int heads = p.shape.heads, width = p.shape.head_dim, channels = heads * width;
  const std::int64_t window = blockIdx.x;
  const T *const q = p.qkv + window * 3 * channels, *const k = q + channels,
                 *const v = k + channels;
  for (int i = threadIdx.x; i < channels; i += kThreads) {
    p.out[window * channels + i] = v[i % heads * width + i / heads];
  }
  if (p.lse == nullptr) return;
  for (int h = int(threadIdx.x) / kWarpSize; h < heads; h += kWarps) {
    float sum = 0;
    for (int e = int(threadIdx.x) % kWarpSize; e < width; e += kWarpSize) {
      sum = fmaf(widen(q[h * width + e]), widen(k[h * width + e]), sum);
    }
    sum = warp_sum(sum) * scale;
    if (threadIdx.x % kWarpSize == 0) p.lse[window * heads + h] = sum;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    window_attention_one_token_backward_kernel(const WindowAttentionBackward<T> p) {
  const int heads = p.shape.heads, width = p.shape.head_dim, channels = heads * width;
  const std::int64_t window = blockIdx.x;
  T* const to = p.dqkv + window * 3 * channels;
  for (int i = threadIdx.x; i < channels; i += kThreads) {
    to[i] = to[channels + i] = T{};
    to[2 * channels + i] = p.dout[window * channels + i % width * heads + i / width];
  }
}

template <class T>
void forward(const WindowAttentionForward<T>& p, StreamHandle stream) {
  launch(window_attention_one_token_forward_kernel<T>, p.shape.windows, kThreads, 0, stream, p,
         1 / std::sqrt(float(p.shape.head_dim)));
}
template <class T>
void backward(const WindowAttentionBackward<T>& p, StreamHandle stream) {
  launch(window_attention_one_token_backward_kernel<T>, p.shape.windows, kThreads, 0, stream, p);
}

}  // namespace attention_one_token
}  // namespace hh::gpu
