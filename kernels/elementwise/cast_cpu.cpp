// SPDX-License-Identifier: Apache-2.0
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise/cast_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per target.
#include <cstdint>

#include "kernels/core/parallel.h"
#include "kernels/core/simd-inl.h"
#include "kernels/elementwise/cast.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

template <class D>
HWY_INLINE hn::Vec<D> load_value(D d, const f16* p) {
  const hn::Rebind<std::uint16_t, D> bits;
  const hn::Rebind<hwy::float16_t, D> halves;
  return hn::PromoteTo(d, hn::BitCast(halves, hn::LoadU(bits, &p->bits)));
}
template <class D, class T>
HWY_INLINE hn::Vec<D> load_value(D d, const T* p) {
  return load_f32(d, p);
}

template <class D>
HWY_INLINE void store_value(D, hn::Vec<D> v, f16* p) {
  const hn::Rebind<std::uint16_t, D> bits;
  const hn::Rebind<hwy::float16_t, D> halves;
  hn::StoreU(hn::BitCast(bits, hn::DemoteTo(halves, v)), bits, &p->bits);
}
template <class D, class T>
HWY_INLINE void store_value(D d, hn::Vec<D> v, T* p) {
  store_f32(d, v, p);
}

template <class From, class To>
HWY_INLINE void cast_range(const From* from, To* to, std::int64_t n) {
  std::int64_t i = 0;
#if HWY_TARGET <= HWY_AVX2  // the baseline's conversion to f16 doesn't round to nearest
  const hn::ScalableTag<float> d;
  const auto lanes = std::int64_t(hn::Lanes(d));
  for (; i + lanes <= n; i += lanes) store_value(d, load_value(d, from + i), to + i);
#endif
  for (; i < n; ++i) to[i] = from_float<To>(to_float(from[i]));
}

void f32_to_bf16(const float* from, bf16* to, std::int64_t n) { cast_range(from, to, n); }
void bf16_to_f32(const bf16* from, float* to, std::int64_t n) { cast_range(from, to, n); }
void f32_to_f16(const float* from, f16* to, std::int64_t n) { cast_range(from, to, n); }
void f16_to_f32(const f16* from, float* to, std::int64_t n) { cast_range(from, to, n); }

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::cpu {
namespace {

HWY_EXPORT(f32_to_bf16);
HWY_EXPORT(bf16_to_f32);
HWY_EXPORT(f32_to_f16);
HWY_EXPORT(f16_to_f32);

void convert(const float* from, bf16* to, std::int64_t n) {
  HWY_DYNAMIC_DISPATCH(f32_to_bf16)(from, to, n);
}
void convert(const bf16* from, float* to, std::int64_t n) {
  HWY_DYNAMIC_DISPATCH(bf16_to_f32)(from, to, n);
}
void convert(const float* from, f16* to, std::int64_t n) {
  HWY_DYNAMIC_DISPATCH(f32_to_f16)(from, to, n);
}
void convert(const f16* from, float* to, std::int64_t n) {
  HWY_DYNAMIC_DISPATCH(f16_to_f32)(from, to, n);
}

}  // namespace

template <class From, class To>
void run(const Cast<From, To>& p) {
  p.validate();
  constexpr std::int64_t kGrain = 32768;  // a guess: some microseconds of work
  parallel_for(p.n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    convert(p.from + begin, p.to + begin, end - begin);
  });
}

template void run(const Cast<float, bf16>&);
template void run(const Cast<bf16, float>&);
template void run(const Cast<float, f16>&);
template void run(const Cast<f16, float>&);

}  // namespace hh::cpu
#endif
