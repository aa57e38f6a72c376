// SPDX-License-Identifier: Apache-2.0
// Loads and stores that the Highway kernels share: any storage type in memory, float32 in lanes.
// Included inside HWY_BEFORE_NAMESPACE, once per target, hence the toggled guard.
#if defined(HH_KERNELS_CORE_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HH_KERNELS_CORE_SIMD_INL_H_
#undef HH_KERNELS_CORE_SIMD_INL_H_
#else
#define HH_KERNELS_CORE_SIMD_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>

#include "kernels/core/half.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Lanes(d) values from memory as float32; no alignment needed.
template <class D>
HWY_INLINE hn::Vec<D> load_f32(D d, const float* p) {
  return hn::LoadU(d, p);
}
template <class D>
HWY_INLINE hn::Vec<D> load_f32(D d, const bf16* p) {
  const hn::Rebind<std::uint16_t, D> d16;
  const hn::Rebind<std::uint32_t, D> d32;
  const auto wide = hn::PromoteTo(d32, hn::LoadU(d16, &p->bits));
  return hn::BitCast(d, hn::ShiftLeft<16>(wide));
}

/// Stores Lanes(d) values, rounded to nearest even for bf16; no alignment needed. NaN stays NaN
/// (canonical), which only matters so that a broken run shows.
template <class D>
HWY_INLINE void store_f32(D d, hn::Vec<D> v, float* p) {
  hn::StoreU(v, d, p);
}
template <class D>
HWY_INLINE void store_f32(D, hn::Vec<D> v, bf16* p) {
  const hn::Rebind<std::int16_t, D> d16;
  const hn::Rebind<std::uint32_t, D> d32;
  const hn::Rebind<std::int32_t, D> di32;
  const auto u = hn::BitCast(d32, v);
  const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(d32, 1u));
  const auto sum = hn::Add(hn::Add(u, odd), hn::Set(d32, 0x7fffu));
  // The signed shift leaves what 16 signed bits hold, so the saturation of DemoteTo does nothing.
  auto rounded = hn::ShiftRight<16>(hn::BitCast(di32, sum));
  rounded = hn::IfThenElse(hn::RebindMask(di32, hn::IsNaN(v)), hn::Set(di32, 0x7fc0), rounded);
  hn::StoreU(hn::DemoteTo(d16, rounded), d16, reinterpret_cast<std::int16_t*>(&p->bits));
}

/// The first `count` (< Lanes) values; the other lanes are zero / not written.
template <class D, class T>
HWY_INLINE hn::Vec<D> load_f32_n(D d, const T* p, std::size_t count) {
  HWY_ALIGN T buffer[hn::MaxLanes(D())] = {};
  for (std::size_t i = 0; i < count; ++i) buffer[i] = p[i];
  return load_f32(d, buffer);
}
template <class D, class T>
HWY_INLINE void store_f32_n(D d, hn::Vec<D> v, T* p, std::size_t count) {
  HWY_ALIGN T buffer[hn::MaxLanes(D())];
  store_f32(d, v, buffer);
  for (std::size_t i = 0; i < count; ++i) p[i] = buffer[i];
}

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
