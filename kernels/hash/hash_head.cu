// SPDX-License-Identifier: Apache-2.0
// Mapping   Forward: a warp has 4 images times 4 bits, its lanes along the channels. Backward:
//           dpooled a thread per channel and 4 images, dw a thread per channel and 4 bits, with the
//           dlogits of a block in shared memory. Each sum adds up in the order it has alone.
// Traffic   everything is small (B x C, K x C) and lies in L2 after the first read; what is shared
//           by 4 images or bits is read once for them.
#include "kernels/core/device.cuh"
#include "kernels/hash/hash_head.h"

namespace hh::gpu {
namespace {

constexpr int kWarps = 4, kThreads = kWarps * kWarpSize;

constexpr int kTile = 4;  // images or bits that share what is read

template <class T>
__global__ void __launch_bounds__(kThreads) hash_head_forward_kernel(const HashHeadForward<T> p) {
  const int lane = threadIdx.x % kWarpSize;
  const std::int64_t warp = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarpSize;
  const int bit_tiles = ceil_div(p.bits, kTile);
  const std::int64_t first_image = warp / bit_tiles * kTile;
  const int first_bit = int(warp % bit_tiles) * kTile;
  if (first_image >= p.images) return;     // a warp leaves whole
  const T *pooled[kTile], *weight[kTile];  // past the last: the last, not written
#pragma unroll
  for (int i = 0; i < kTile; ++i) {
    pooled[i] = p.pooled + min(first_image + i, std::int64_t{p.images} - 1) * p.channels;
    weight[i] = p.weight + std::int64_t{min(first_bit + i, p.bits - 1)} * p.channels;
  }
  float sums[kTile][kTile] = {};
  for (int c = lane; c < p.channels; c += kWarpSize) {
    float w[kTile];
#pragma unroll
    for (int k = 0; k < kTile; ++k) w[k] = widen(weight[k][c]);
#pragma unroll
    for (int i = 0; i < kTile; ++i) {
      const float x = widen(pooled[i][c]);
#pragma unroll
      for (int k = 0; k < kTile; ++k) sums[i][k] += x * w[k];
    }
  }
  float mine = 0;  // lane 4 i + k has logit (i, k)
#pragma unroll
  for (int i = 0; i < kTile; ++i) {
#pragma unroll
    for (int k = 0; k < kTile; ++k) {
      const float sum = warp_sum(sums[i][k]);
      if (lane == i * kTile + k) mine = sum;
    }
  }
  const std::int64_t image = first_image + lane / kTile;
  const int bit = first_bit + lane % kTile;
  if (lane >= kTile * kTile || image >= p.images || bit >= p.bits) return;
  const float logit = p.bias[bit] + mine;
  p.logits[image * p.bits + bit] = logit;
  p.code[image * p.bits + bit] = tanhf(logit);
}

/// 0 where there is no such image or bit.
template <class T>
__device__ float dlogit(const HashHeadBackward<T>& p, std::int64_t image, int bit) {
  if (image >= p.images || bit >= p.bits) return 0;
  const float code = p.code[image * p.bits + bit];
  return p.dcode[image * p.bits + bit] * (1 - code * code);
}

/// Of one tile of images.
template <class T>
__device__ void make_dpooled(const HashHeadBackward<T>& p, unsigned tile) {
  __shared__ float g[HashHeadForward<T>::kMaxBits][kTile];
  const std::int64_t first = std::int64_t{tile} * kTile;
  for (int i = int(threadIdx.x); i < kTile * p.bits; i += kThreads) {
    g[i % p.bits][i / p.bits] = dlogit(p, first + i / p.bits, i % p.bits);
  }
  __syncthreads();
  const int c = int(blockIdx.x) * kThreads + int(threadIdx.x);
  if (c >= p.channels) return;
  float sums[kTile] = {};
#pragma unroll 8
  for (int k = 0; k < p.bits; ++k) {
    const float w = widen(p.weight[std::int64_t{k} * p.channels + c]);
#pragma unroll
    for (int i = 0; i < kTile; ++i) sums[i] += g[k][i] * w;
  }
#pragma unroll
  for (int i = 0; i < kTile; ++i) {
    if (first + i < p.images) p.dpooled[(first + i) * p.channels + c] = narrow<T>(sums[i]);
  }
}

/// Of one tile of bits; the first of its blocks also adds up dbias.
template <class T>
__device__ void add_dweight(const HashHeadBackward<T>& p, unsigned tile) {
  __shared__ float g[kThreads][kTile];
  const int c = int(blockIdx.x) * kThreads + int(threadIdx.x);
  const int first_bit = int(tile) * kTile, thread = int(threadIdx.x);
  float sums[kTile] = {}, bias = 0;
  for (std::int64_t first = 0; first < p.images; first += kThreads) {
    const int images = int(min(std::int64_t{p.images} - first, std::int64_t{kThreads}));
#pragma unroll
    for (int i = 0; i < kTile; ++i) {
      const int at = i * kThreads + thread;  // neighbours: the bits of an image
      g[at / kTile][at % kTile] = dlogit(p, first + at / kTile, first_bit + at % kTile);
    }
    __syncthreads();
    if (blockIdx.x == 0 && thread < kTile) {
      for (int image = 0; image < images; ++image) bias += g[image][thread];
    }
    if (c < p.channels) {
#pragma unroll 8
      for (int image = 0; image < images; ++image) {
        const float x = widen(p.pooled[(first + image) * p.channels + c]);
#pragma unroll
        for (int i = 0; i < kTile; ++i) sums[i] += g[image][i] * x;
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kTile; ++i) {
    if (c < p.channels && first_bit + i < p.bits) {
      p.dweight[std::int64_t{first_bit + i} * p.channels + c] += sums[i];
    }
  }
  if (blockIdx.x == 0 && thread < kTile && first_bit + thread < p.bits) {
    p.dbias[first_bit + thread] += bias;
  }
}

/// A row of blocks for each tile of bits, and then one for each tile of images.
template <class T>
__global__ void __launch_bounds__(kThreads)
    hash_head_backward_kernel(const HashHeadBackward<T> p, const unsigned bit_tiles) {
  if (blockIdx.y < bit_tiles) return add_dweight(p, blockIdx.y);
  make_dpooled(p, blockIdx.y - bit_tiles);
}

unsigned channel_blocks(int channels) { return unsigned(ceil_div(channels, kThreads)); }

}  // namespace

template <class T>
void run(const HashHeadForward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.images == 0) return;
  const std::int64_t tiles = std::int64_t{ceil_div(p.images, kTile)} * ceil_div(p.bits, kTile);
  hash_head_forward_kernel<T><<<grid_of(ceil_div(tiles, kWarps)), kThreads, 0, stream>>>(p);
  HH_CHECK_LAUNCH(stream);
}

template <class T>
void run(const HashHeadBackward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.images == 0) return;
  const int bit_tiles = ceil_div(p.bits, kTile);
  const dim3 grid = grid_of(channel_blocks(p.channels), bit_tiles + ceil_div(p.images, kTile));
  hash_head_backward_kernel<T><<<grid, kThreads, 0, stream>>>(p, unsigned(bit_tiles));
  HH_CHECK_LAUNCH(stream);
}

template void run(const HashHeadForward<float>&, StreamHandle);
template void run(const HashHeadForward<bf16>&, StreamHandle);
template void run(const HashHeadForward<f16>&, StreamHandle);
template void run(const HashHeadBackward<float>&, StreamHandle);
template void run(const HashHeadBackward<bf16>&, StreamHandle);
template void run(const HashHeadBackward<f16>&, StreamHandle);

}  // namespace hh::gpu
