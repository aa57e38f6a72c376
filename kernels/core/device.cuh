// SPDX-License-Identifier: Apache-2.0
// What the CUDA kernels share: storage types as float32, 16-byte vectors, warp and block sums.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "kernels/core/cuda_check.h"
#include "kernels/core/half.h"
#include "kernels/core/launch.cuh"

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

/// Two values as T in a register, each rounded to nearest even.
template <class T>
__device__ unsigned pack_halves(float low, float high);
template <>
__device__ inline unsigned pack_halves<bf16>(float low, float high) {
  unsigned packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}
template <>
__device__ inline unsigned pack_halves<f16>(float low, float high) {
  unsigned packed;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

/// The lower (0) or upper (1) T of a register.
template <class T>
__device__ float widen_half(unsigned packed, int half);
template <>
__device__ inline float widen_half<bf16>(unsigned packed, int half) {
  return __uint_as_float(half == 0 ? packed << 16 : packed & 0xffff0000);
}
template <>
__device__ inline float widen_half<f16>(unsigned packed, int half) {
  return widen(f16{std::uint16_t(half == 0 ? packed : packed >> 16)});
}

/// kCount values in one aligned access: 16 bytes when kCount is kVector<T>. Those of 16 bits lie in
/// whole registers: taken one by one, each would cost a conversion of its own.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  static constexpr bool kPairs = sizeof(T) == 2 && kCount % 2 == 0;
  std::conditional_t<kPairs, unsigned, T> v[kPairs ? kCount / 2 : kCount];

  __device__ float get(int k) const {
    if constexpr (kPairs) {
      return widen_half<T>(v[k / 2], k % 2);
    } else {
      return widen(v[k]);
    }
  }
  /// Each rounded to nearest even.
  __device__ void set(const float (&from)[kCount]) {
    if constexpr (kPairs) {
#pragma unroll
      for (int i = 0; i < kCount / 2; ++i) v[i] = pack_halves<T>(from[2 * i], from[2 * i + 1]);
    } else {
#pragma unroll
      for (int i = 0; i < kCount; ++i) v[i] = narrow<T>(from[i]);
    }
  }
};
template <class T>
constexpr int kVector = 16 / int(sizeof(T));  // elements of one 16-byte access

template <int kCount, class T>
__device__ void load_floats(const T* from, float (&to)[kCount]) {
  const auto pack = *reinterpret_cast<const Pack<T, kCount>*>(from);
#pragma unroll
  for (int i = 0; i < kCount; ++i) to[i] = pack.get(i);
}
template <int kCount, class T>
__device__ void store_floats(const float (&from)[kCount], T* to) {
  Pack<T, kCount> pack;
  pack.set(from);
  *reinterpret_cast<Pack<T, kCount>*>(to) = pack;
}
/// What storing them as T would leave.
template <class T, int kCount>
__device__ void round_floats(float (&v)[kCount]) {
  Pack<T, kCount> pack;
  pack.set(v);
#pragma unroll
  for (int i = 0; i < kCount; ++i) v[i] = pack.get(i);
}

/// Whether an array may be accessed in vectors of 16 bytes.
inline bool aligned16(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

/// 2^x within 2 units in the last place; results below 2^-126 are 0.
__device__ inline float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// The sum over a warp, in all its lanes; a fixed tree, so the same bits every time.
template <class V>
__device__ V warp_sum(V v) {
#pragma unroll
  for (int step = kWarpSize / 2; step > 0; step /= 2) v += __shfl_xor_sync(kFullMask, v, step);
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
