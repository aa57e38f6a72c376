// What the CUDA kernels share: storage types as float32, 16-byte vectors, warp and block sums.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/core/cuda_check.h"
#include "kernels/core/half.h"

namespace hh::gpu {

constexpr int kWarpSize = 32;
constexpr unsigned kFullMask = 0xffffffffu;

template <class A, class B>
__host__ __device__ constexpr auto ceil_div(A a, B b) {
  return (a + b - 1) / b;
}

// hh::bf16 and hh::f16 are plain bits on the host; on the device the hardware converts them.
__device__ inline float widen(float v) { return v; }
__device__ inline float widen(bf16 v) { return __uint_as_float(std::uint32_t{v.bits} << 16); }
__device__ inline float widen(f16 v) { return __half2float(__ushort_as_half(v.bits)); }

/// Rounded to nearest even.
template <class T>
__device__ T narrow(float v);
template <>
__device__ inline float narrow<float>(float v) {
  return v;
}
template <>
__device__ inline bf16 narrow<bf16>(float v) {
  return {__bfloat16_as_ushort(__float2bfloat16_rn(v))};
}
template <>
__device__ inline f16 narrow<f16>(float v) {
  return {__half_as_ushort(__float2half_rn(v))};
}

/// kCount values in one aligned access: 16 bytes when kCount is Vector<T>::kCount.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  T v[kCount];
};
template <class T>
constexpr int kVector = 16 / int(sizeof(T));  // elements of one 16-byte access

template <int kCount, class T>
__device__ void load_floats(const T* from, float (&to)[kCount]) {
  const auto pack = *reinterpret_cast<const Pack<T, kCount>*>(from);
#pragma unroll
  for (int i = 0; i < kCount; ++i) to[i] = widen(pack.v[i]);
}
template <int kCount, class T>
__device__ void store_floats(const float (&from)[kCount], T* to) {
  Pack<T, kCount> pack;
#pragma unroll
  for (int i = 0; i < kCount; ++i) pack.v[i] = narrow<T>(from[i]);
  *reinterpret_cast<Pack<T, kCount>*>(to) = pack;
}

/// Whether an array may be accessed in vectors of 16 bytes.
inline bool aligned16(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

/// The sum over a warp, in all its lanes; a fixed tree, so the same bits every time.
template <class V>
__device__ V warp_sum(V v) {
#pragma unroll
  for (int step = kWarpSize / 2; step > 0; step /= 2) v += __shfl_xor_sync(kFullMask, v, step);
  return v;
}
__device__ inline float warp_max(float v) {
#pragma unroll
  for (int step = kWarpSize / 2; step > 0; step /= 2) {
    v = fmaxf(v, __shfl_xor_sync(kFullMask, v, step));
  }
  return v;
}

/// The sum over a block of kThreads threads, in all of them. All must call it.
template <int kThreads, class V>
__device__ V block_sum(V v) {
  static_assert(kThreads % kWarpSize == 0 && kThreads <= 1024);
  __shared__ V partial[kThreads / kWarpSize];
  v = warp_sum(v);
  __syncthreads();  // an earlier call may still be reading
  if (threadIdx.x % kWarpSize == 0) partial[threadIdx.x / kWarpSize] = v;
  __syncthreads();
  V sum = 0;
#pragma unroll
  for (int i = 0; i < kThreads / kWarpSize; ++i) sum += partial[i];
  return sum;
}

}  // namespace hh::gpu
