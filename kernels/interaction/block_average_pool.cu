// SPDX-License-Identifier: Apache-2.0
// Mapping   Forward: a block makes 32 vectors of channels of one output; its eight warps each add
//           up an eighth of the pixels, then one warp adds the eight sums in order. Backward: one
//           thread per vector of channels of s neighbouring pixels, which share a vector of dy; a
//           thread for all s x s pixels would leave too few threads for small batches.
// Traffic   reads x and writes dx once; y and dy are smaller by s^2, and backward reads dy s times.
#include "kernels/core/device.cuh"
#include "kernels/interaction/block_average_pool.h"

namespace hh::gpu {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * kWarpSize;

template <class T, int kCount>
__global__ void __launch_bounds__(kThreads)
    block_average_pool_forward_kernel(const BlockAveragePoolForward<T> p) {
  __shared__ float partial[kWarps][kWarpSize][kCount + (kCount > 1)];
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const int c = (int(blockIdx.y) * kWarpSize + lane) * kCount;
  const std::int64_t out = blockIdx.x, image = out / (p.grid * p.grid);
  const int i = int(out / p.grid % p.grid), j = int(out % p.grid), width = p.grid * p.side;
  float sum[kCount] = {};
  for (int k = warp; c < p.channels && k < p.side * p.side; k += kWarps) {
    const std::int64_t row = i * p.side + k / p.side, column = j * p.side + k % p.side;
    float x[kCount];
    load_floats(p.x + ((image * width + row) * width + column) * p.channels + c, x);
#pragma unroll
    for (int e = 0; e < kCount; ++e) sum[e] += x[e];
  }
#pragma unroll
  for (int e = 0; e < kCount; ++e) partial[warp][lane][e] = sum[e];
  __syncthreads();
  if (warp != 0 || c >= p.channels) return;
#pragma unroll
  for (int e = 0; e < kCount; ++e) {
    for (int w = 1; w < kWarps; ++w) sum[e] += partial[w][lane][e];
    sum[e] /= float(p.side * p.side);
  }
  store_floats(sum, p.y + out * p.channels + c);
}

template <class T, int kCount>
__global__ void __launch_bounds__(kThreads)
    block_average_pool_backward_kernel(const BlockAveragePoolBackward<T> p, std::int64_t runs) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= runs) return;
  const int per_pixel = p.channels / kCount, c = int(i % per_pixel) * kCount;
  // Runs of s pixels are numbered as in dx: image, i, u, j.
  const std::int64_t run = i / per_pixel;
  const std::int64_t out = run / p.grid / p.side * p.grid + run % p.grid;
  float g[kCount];
  load_floats(p.dy + out * p.channels + c, g);
#pragma unroll
  for (int e = 0; e < kCount; ++e) g[e] /= float(p.side * p.side);
  T* dx = p.dx + run * p.side * p.channels + c;
#pragma unroll 4
  for (int v = 0; v < p.side; ++v, dx += p.channels) {
    float sum[kCount] = {};
    if (p.accumulate) load_floats(dx, sum);
#pragma unroll
    for (int e = 0; e < kCount; ++e) sum[e] += g[e];
    store_floats(sum, dx);
  }
}

template <class T, int kCount>
void launch(const BlockAveragePoolForward<T>& p, StreamHandle stream) {
  const dim3 grid =
      grid_of(std::int64_t{p.images} * p.grid * p.grid, ceil_div(p.channels, kWarpSize * kCount));
  block_average_pool_forward_kernel<T, kCount><<<grid, kThreads, 0, stream>>>(p);
  HH_CHECK_LAUNCH(stream);
}

template <class T, int kCount>
void launch(const BlockAveragePoolBackward<T>& p, StreamHandle stream) {
  const std::int64_t width = std::int64_t{p.grid} * p.side;
  const std::int64_t runs = p.images * width * p.grid * (p.channels / kCount);
  block_average_pool_backward_kernel<T, kCount>
      <<<grid_of(ceil_div(runs, kThreads)), kThreads, 0, stream>>>(p, runs);
  HH_CHECK_LAUNCH(stream);
}

/// In 16-byte vectors where the arrays and the channels allow it.
template <class Args, class T>
void dispatch(const Args& p, const T* large, const T* small, StreamHandle stream) {
  if (p.images == 0) return;
  const bool vectors = p.channels % kVector<T> == 0 && aligned16(large) && aligned16(small);
  return vectors ? launch<T, kVector<T>>(p, stream) : launch<T, 1>(p, stream);
}

}  // namespace

template <class T>
void run(const BlockAveragePoolForward<T>& p, StreamHandle stream) {
  p.validate();
  dispatch(p, p.x, static_cast<const T*>(p.y), stream);
}

template <class T>
void run(const BlockAveragePoolBackward<T>& p, StreamHandle stream) {
  p.validate();
  dispatch(p, static_cast<const T*>(p.dx), p.dy, stream);
}

template void run(const BlockAveragePoolForward<float>&, StreamHandle);
template void run(const BlockAveragePoolForward<bf16>&, StreamHandle);
template void run(const BlockAveragePoolForward<f16>&, StreamHandle);
template void run(const BlockAveragePoolBackward<float>&, StreamHandle);
template void run(const BlockAveragePoolBackward<bf16>&, StreamHandle);
template void run(const BlockAveragePoolBackward<f16>&, StreamHandle);

}  // namespace hh::gpu
