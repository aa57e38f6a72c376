// Mapping   Forward: one warp per logit, its lanes along the channels. Backward: dpooled one thread
// per
//           (image, channel), dw one thread per (bit, channel), dbias one thread per bit; each adds
//           up in a fixed order. dlogits is computed where it is needed: two multiplications.
// Traffic   everything is small (B x C, K x C) and lies in L2 after the first read.
#include "kernels/core/device.cuh"
#include "kernels/hash/hash_head.h"

namespace hh::gpu {
namespace {

constexpr int kWarps = 4, kThreads = kWarps * kWarpSize;

template <class T>
__global__ void __launch_bounds__(kThreads) hash_head_forward_kernel(const HashHeadForward<T> p) {
  const int lane = threadIdx.x % kWarpSize;
  const std::int64_t i = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarpSize;
  if (i >= std::int64_t{p.images} * p.bits) return;  // a warp leaves whole
  const std::int64_t image = i / p.bits, bit = i % p.bits;
  float sum = 0;
  for (int c = lane; c < p.channels; c += kWarpSize) {
    sum += widen(p.pooled[image * p.channels + c]) * widen(p.weight[bit * p.channels + c]);
  }
  sum = warp_sum(sum);
  if (lane != 0) return;
  const float logit = p.bias[bit] + sum;
  p.logits[i] = logit;
  p.code[i] = tanhf(logit);
}

template <class T>
__device__ float dlogit(const HashHeadBackward<T>& p, std::int64_t image, std::int64_t bit) {
  const float code = p.code[image * p.bits + bit];
  return p.dcode[image * p.bits + bit] * (1 - code * code);
}

template <class T>
__global__ void __launch_bounds__(kThreads) hash_head_dpooled_kernel(const HashHeadBackward<T> p) {
  const int c = int(blockIdx.x) * kThreads + int(threadIdx.x);
  if (c >= p.channels) return;
  const std::int64_t image = blockIdx.y;
  float sum = 0;
  for (int k = 0; k < p.bits; ++k) {
    sum += dlogit(p, image, k) * widen(p.weight[std::int64_t{k} * p.channels + c]);
  }
  p.dpooled[image * p.channels + c] = narrow<T>(sum);
}

/// One block row per bit; the first of its blocks also adds up dbias.
template <class T>
__global__ void __launch_bounds__(kThreads) hash_head_dweight_kernel(const HashHeadBackward<T> p) {
  const int c = int(blockIdx.x) * kThreads + int(threadIdx.x);
  const std::int64_t bit = blockIdx.y;
  float sum = 0, bias = 0;
  for (std::int64_t image = 0; image < p.images; ++image) {
    const float g = dlogit(p, image, bit);
    bias += g;
    if (c < p.channels) sum += g * widen(p.pooled[image * p.channels + c]);
  }
  if (c < p.channels) p.dweight[bit * p.channels + c] += sum;
  if (c == 0) p.dbias[bit] += bias;
}

unsigned channel_blocks(int channels) { return unsigned(ceil_div(channels, kThreads)); }

}  // namespace

template <class T>
void hash_head_forward(const HashHeadForward<T>& p, StreamHandle stream) {
  p.validate();
  const std::int64_t logits = std::int64_t{p.images} * p.bits;
  if (logits == 0) return;
  hash_head_forward_kernel<T><<<unsigned(ceil_div(logits, kWarps)), kThreads, 0, stream>>>(p);
  HH_CHECK_LAUNCH(stream);
}

template <class T>
void hash_head_backward(const HashHeadBackward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.images == 0) return;
  const dim3 by_image(channel_blocks(p.channels), unsigned(p.images));
  hash_head_dpooled_kernel<T><<<by_image, kThreads, 0, stream>>>(p);
  HH_CHECK_LAUNCH(stream);
  const dim3 by_bit(channel_blocks(p.channels), unsigned(p.bits));
  hash_head_dweight_kernel<T><<<by_bit, kThreads, 0, stream>>>(p);
  HH_CHECK_LAUNCH(stream);
}

template void hash_head_forward(const HashHeadForward<float>&, StreamHandle);
template void hash_head_forward(const HashHeadForward<bf16>&, StreamHandle);
template void hash_head_forward(const HashHeadForward<f16>&, StreamHandle);
template void hash_head_backward(const HashHeadBackward<float>&, StreamHandle);
template void hash_head_backward(const HashHeadBackward<bf16>&, StreamHandle);
template void hash_head_backward(const HashHeadBackward<f16>&, StreamHandle);

}  // namespace hh::gpu
