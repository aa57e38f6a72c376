// SPDX-License-Identifier: Apache-2.0
// A loop over n values in vectors, whose body is written once for whole vectors and for the rest.
// Included inside HWY_BEFORE_NAMESPACE, once per target, hence the toggled guard.
#if defined(HH_KERNELS_CORE_SIMD_LOOP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HH_KERNELS_CORE_SIMD_LOOP_INL_H_
#undef HH_KERNELS_CORE_SIMD_LOOP_INL_H_
#else
#define HH_KERNELS_CORE_SIMD_LOOP_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "kernels/core/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {

template <class D>
using CodeTag = hn::Rebind<std::int32_t, D>;  // bytes in memory, int32 in lanes

/// How the body touches memory where a whole vector is left.
struct WholeVector {
  template <class D, class T>
  HWY_INLINE hn::Vec<D> load(D d, const T* p) const {
    return load_f32(d, p);
  }
  template <class D, class T>
  HWY_INLINE void store(D d, hn::Vec<D> v, T* p) const {
    store_f32(d, v, p);
  }
  /// Zero in the lanes past the end.
  template <class D>
  HWY_INLINE hn::Vec<D> within(D, hn::Vec<D> v) const {
    return v;
  }
  template <class D>
  HWY_INLINE hn::Vec<CodeTag<D>> load_code(D, const std::uint8_t* p) const {
    return hn::PromoteTo(CodeTag<D>(), hn::LoadU(hn::Rebind<std::uint8_t, D>(), p));
  }
  template <class D>
  HWY_INLINE void store_code(D, hn::Vec<CodeTag<D>> v, std::uint8_t* p) const {
    const hn::Rebind<std::uint8_t, D> d8;
    hn::StoreU(hn::DemoteTo(d8, v), d8, p);
  }
};

/// The same where `count` values, fewer than a vector, are left: touches no others.
struct PartVector {
  std::size_t count;
  template <class D, class T>
  HWY_INLINE hn::Vec<D> load(D d, const T* p) const {
    return load_f32_n(d, p, count);
  }
  template <class D, class T>
  HWY_INLINE void store(D d, hn::Vec<D> v, T* p) const {
    store_f32_n(d, v, p, count);
  }
  template <class D>
  HWY_INLINE hn::Vec<D> within(D d, hn::Vec<D> v) const {
    return hn::IfThenElseZero(hn::FirstN(d, count), v);
  }
  template <class D>
  HWY_INLINE hn::Vec<CodeTag<D>> load_code(D d, const std::uint8_t* p) const {
    HWY_ALIGN std::uint8_t buffer[hn::MaxLanes(D())] = {};
    for (std::size_t i = 0; i < count; ++i) buffer[i] = p[i];
    return WholeVector().load_code(d, buffer);
  }
  template <class D>
  HWY_INLINE void store_code(D d, hn::Vec<CodeTag<D>> v, std::uint8_t* p) const {
    HWY_ALIGN std::uint8_t buffer[hn::MaxLanes(D())];
    WholeVector().store_code(d, v, buffer);
    for (std::size_t i = 0; i < count; ++i) p[i] = buffer[i];
  }
};

/// body(first, at) for first = 0, Lanes(d), ... below n; `at` is a WholeVector or the PartVector.
template <class D, class Body>
HWY_INLINE void for_each_vector(D d, std::size_t n, Body&& body) {
  const std::size_t lanes = hn::Lanes(d);
  std::size_t first = 0;
  for (; first + lanes <= n; first += lanes) body(first, WholeVector());
  if (first < n) body(first, PartVector{n - first});
}

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
