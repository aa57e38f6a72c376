// SPDX-License-Identifier: Apache-2.0
// Mapping   One thread per 16 bytes; the odd end and arrays off a 16-byte boundary go one by one.
// Traffic   reads x and y and writes y: three accesses of n elements.
#include "kernels/core/device.cuh"
#include "kernels/elementwise/add.h"

namespace hh::gpu {
namespace {

constexpr int kThreads = 256;

template <class T, int kCount>
__global__ void __launch_bounds__(kThreads) add_kernel(const Add<T> p, std::int64_t packs) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= packs) return;
  float x[kCount], y[kCount];
  load_floats(p.x + i * kCount, x);
  load_floats(p.y + i * kCount, y);
#pragma unroll
  for (int k = 0; k < kCount; ++k) y[k] += x[k];
  store_floats(y, p.y + i * kCount);
}

template <class T, int kCount>
void launch(const Add<T>& p, StreamHandle stream) {
  const std::int64_t packs = p.n / kCount;
  if (packs == 0) return;
  add_kernel<T, kCount><<<grid_of(ceil_div(packs, kThreads)), kThreads, 0, stream>>>(p, packs);
  HH_CHECK_LAUNCH(stream);
}

}  // namespace

template <class T>
void run(const Add<T>& p, StreamHandle stream) {
  p.validate();
  constexpr int kCount = kVector<T>;
  if (!aligned16(p.x) || !aligned16(p.y)) return launch<T, 1>(p, stream);
  launch<T, kCount>(p, stream);
  const std::int64_t done = p.n / kCount * kCount;
  launch<T, 1>({.x = p.x + done, .y = p.y + done, .n = p.n - done}, stream);
}

template void run(const Add<float>&, StreamHandle);
template void run(const Add<bf16>&, StreamHandle);
template void run(const Add<f16>&, StreamHandle);

}  // namespace hh::gpu
