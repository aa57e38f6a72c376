// SPDX-License-Identifier: Apache-2.0
// Products as good as float32's on tensor cores that take bf16. A float32 has 24 significant bits
// and is the exact sum of three bf16 of 8; an f16 has 11 and needs two. Of the products of parts
// those with i + j <= 2 are taken: what is left out is below 2^-22 of the product where the parts
// of one factor are truncated, 2^-23 where both are rounded.
#pragma once
#include <type_traits>

#include "kernels/core/mma.cuh"

namespace hh::gpu {

using Halves = unsigned short;  // bits of a bf16

template <class T>
constexpr int kParts = 3;
template <>
inline constexpr int kParts<f16> = 2;
template <>
inline constexpr int kParts<bf16> = 1;

/// The nearest bf16 of each, packed; v and w keep what is left, exactly. A float32 beyond bf16's
/// largest, 3.39e38, leaves infinities and so gives NaN, as those that aren't finite do.
__device__ inline unsigned take_bf16(float& v, float& w) {
  const unsigned top = pack_halves<bf16>(v, w);
  // Registers of PTX have a type; in assembly these two need no move between them.
  float a, b;
  asm("shl.b32 %0, %1, 16;" : "=f"(a) : "r"(top));
  asm("and.b32 %0, %1, 0xffff0000;" : "=f"(b) : "r"(top));
  v -= a;
  w -= b;
  return top;
}

/// The same with the leading 8 bits instead of the nearest: integer operations instead of a
/// conversion, which costs four times as much.
__device__ inline unsigned take_top(float& v, float& w) {
  unsigned top;
  float a, b;
  asm("prmt.b32 %0, %1, %2, 0x7632;" : "=r"(top) : "f"(v), "f"(w));
  asm("and.b32 %0, %1, 0xffff0000;" : "=f"(a) : "f"(v));
  asm("and.b32 %0, %1, 0xffff0000;" : "=f"(b) : "f"(w));
  v -= a;
  w -= b;
  return top;
}

/// Calls product(i, j) for the parts that matter, the smallest products first.
template <int kLeft, int kRight, class F>
__device__ void each_product(F&& product) {
  const auto take = [&](auto i, auto j) {
    if constexpr (i() < kLeft && j() < kRight) product(i, j);
  };
  using std::integral_constant;
  take(integral_constant<int, 2>(), integral_constant<int, 0>());
  take(integral_constant<int, 1>(), integral_constant<int, 1>());
  take(integral_constant<int, 0>(), integral_constant<int, 2>());
  take(integral_constant<int, 1>(), integral_constant<int, 0>());
  take(integral_constant<int, 0>(), integral_constant<int, 1>());
  take(integral_constant<int, 0>(), integral_constant<int, 0>());
}

}  // namespace hh::gpu
