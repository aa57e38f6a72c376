// SPDX-License-Identifier: Apache-2.0
// Mapping   One thread per four elements, 16 bytes of the float32 side; the odd end and arrays off
//           a 16-byte boundary go one by one.
// Traffic   reads and writes every element once.
#include "kernels/core/device.cuh"
#include "kernels/elementwise/cast.h"

namespace hh::gpu {
namespace {

constexpr int kThreads = 256;

template <class From, class To, int kCount>
__global__ void __launch_bounds__(kThreads)
    cast_kernel(const Cast<From, To> p, std::int64_t packs) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= packs) return;
  float v[kCount];
  load_floats(p.from + i * kCount, v);
  store_floats(v, p.to + i * kCount);
}

template <class From, class To, int kCount>
void launch(const Cast<From, To>& p, StreamHandle stream) {
  const std::int64_t packs = p.n / kCount;
  if (packs == 0) return;
  cast_kernel<From, To, kCount>
      <<<grid_of(ceil_div(packs, kThreads)), kThreads, 0, stream>>>(p, packs);
  HH_CHECK_LAUNCH(stream);
}

}  // namespace

template <class From, class To>
void run(const Cast<From, To>& p, StreamHandle stream) {
  p.validate();
  constexpr int kCount = 4;  // 16 bytes of float32, 8 of the 16-bit side
  if (!aligned16(p.from) || !aligned16(p.to)) return launch<From, To, 1>(p, stream);
  launch<From, To, kCount>(p, stream);
  const std::int64_t done = p.n / kCount * kCount;
  launch<From, To, 1>({.from = p.from + done, .to = p.to + done, .n = p.n - done}, stream);
}

template void run(const Cast<float, bf16>&, StreamHandle);
template void run(const Cast<bf16, float>&, StreamHandle);
template void run(const Cast<float, f16>&, StreamHandle);
template void run(const Cast<f16, float>&, StreamHandle);

}  // namespace hh::gpu
