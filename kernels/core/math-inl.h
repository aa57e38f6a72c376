// SPDX-License-Identifier: Apache-2.0
// Elementary functions on float32 vectors. The polynomials are minimax fits of relative error made
// for this file; the errors stated are theirs plus the roundings of their evaluation. NaN gives
// NaN. Included like simd-inl.h, once per target.
#if defined(HH_KERNELS_CORE_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HH_KERNELS_CORE_MATH_INL_H_
#undef HH_KERNELS_CORE_MATH_INL_H_
#else
#define HH_KERNELS_CORE_MATH_INL_H_
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// max(x, least), but NaN of x: of Highway's Max only the x86 instruction passes its second
/// operand's NaN on.
template <class D>
HWY_INLINE hn::Vec<D> clamp_below(D d, float least, hn::Vec<D> x) {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
  return hn::IfThenElse(hn::Lt(x, hn::Set(d, least)), hn::Set(d, least), x);
#else
  return hn::Max(hn::Set(d, least), x);
#endif
}

/// 2^x within 2 units of 2^-24, for x <= 127. Below -126 it stays at 2^-126, which a softmax can't
/// tell from 0; that saves the treatment of subnormals. 2^0 is exactly 1.
template <class D>
HWY_INLINE hn::Vec<D> exp2_normal(D d, hn::Vec<D> x) {
  const hn::RebindToSigned<D> di;
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits; the 127 more make it the
  // exponent field of 2^n.
  const auto magic = hn::Set(d, 12582912.0f + 127.0f);
  x = clamp_below(d, -126.0f, x);
  const auto shifted = hn::Add(x, magic);
  const auto f = hn::Sub(x, hn::Sub(shifted, magic));  // in [-1/2, 1/2], exact
  auto y = hn::Set(d, 1.53458121613e-4f);
  y = hn::MulAdd(y, f, hn::Set(d, 1.33999311772e-3f));
  y = hn::MulAdd(y, f, hn::Set(d, 9.61848895633e-3f));
  y = hn::MulAdd(y, f, hn::Set(d, 5.55032877711e-2f));
  y = hn::MulAdd(y, f, hn::Set(d, 2.40226468906e-1f));
  y = hn::MulAdd(y, f, hn::Set(d, 6.93147205737e-1f));
  y = hn::MulAdd(y, f, hn::Set(d, 1.0f));
  // A product, since adding to y's exponent field would turn some NaNs into numbers.
  return hn::Mul(y, hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
}

/// e^x within 2 units of 2^-24 of the result, over the whole range: infinity above 88.72, rounded
/// to subnormals and zero below -87.3.
template <class D>
HWY_INLINE hn::Vec<D> exp(D d, hn::Vec<D> x) {
  const hn::RebindToSigned<D> di;
  x = hn::Neg(clamp_below(d, -89.0f, hn::Neg(clamp_below(d, -104.0f, x))));
  const auto n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504f)));
  // ln 2 in two parts; the first has so few bits that n times it is exact, with or without FMA.
  auto r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  r = hn::MulAdd(n, hn::Set(d, 2.12194440e-4f), r);
  auto q = hn::Set(d, 1.38146581981e-3f);
  q = hn::MulAdd(q, r, hn::Set(d, 8.36872311966e-3f));
  q = hn::MulAdd(q, r, hn::Set(d, 4.1668387733e-2f));
  q = hn::MulAdd(q, r, hn::Set(d, 1.66665205825e-1f));
  q = hn::MulAdd(q, r, hn::Set(d, 4.99999934468e-1f));
  const auto y = hn::Add(hn::MulAdd(hn::Mul(r, r), q, r), hn::Set(d, 1.0f));
  // 2^n as two factors, since n runs from -150 to 128.
  const auto power = [&](auto k) HWY_ATTR {
    return hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(k, hn::Set(di, 127))));
  };
  const auto exponent = hn::ConvertTo(di, n);
  const auto half = hn::ShiftRight<1>(exponent);
  return hn::Mul(hn::Mul(y, power(half)), power(hn::Sub(exponent, half)));
}

/// log x within 2 units of 2^-24 of the result; x = 0 gives -infinity, x < 0 NaN. Subnormals count
/// as the smallest normal number.
template <class D>
HWY_INLINE hn::Vec<D> log(D d, hn::Vec<D> x) {
  const hn::RebindToSigned<D> di;
  const auto bits = hn::BitCast(di, clamp_below(d, 0x1p-126f, x));
  // x = 2^e m, m in [sqrt(1/2), sqrt(2)): the offset moves the cut between exponents to sqrt(2).
  const auto offset = hn::Set(di, 0x3f3504f3);
  const auto e = hn::ConvertTo(d, hn::ShiftRight<23>(hn::Sub(bits, offset)));
  const auto m = hn::Add(hn::And(hn::Sub(bits, offset), hn::Set(di, 0x007fffff)), offset);
  const auto r = hn::Sub(hn::BitCast(d, m), hn::Set(d, 1.0f));  // exact
  auto q = hn::Set(d, -7.63445219316e-2f);
  q = hn::MulAdd(q, r, hn::Set(d, 1.27616838321e-1f));
  q = hn::MulAdd(q, r, hn::Set(d, -1.31602507743e-1f));
  q = hn::MulAdd(q, r, hn::Set(d, 1.42017486406e-1f));
  q = hn::MulAdd(q, r, hn::Set(d, -1.66233496219e-1f));
  q = hn::MulAdd(q, r, hn::Set(d, 2.00012270159e-1f));
  q = hn::MulAdd(q, r, hn::Set(d, -2.50008212475e-1f));
  q = hn::MulAdd(q, r, hn::Set(d, 3.33333317076e-1f));
  // r - r^2/2 + r^3 q + e ln 2, the small terms first.
  const auto r2 = hn::Mul(r, r);
  auto y = hn::MulAdd(e, hn::Set(d, -2.12194440e-4f), hn::Mul(hn::Mul(r2, r), q));
  y = hn::NegMulAdd(r2, hn::Set(d, 0.5f), y);
  y = hn::MulAdd(e, hn::Set(d, 0.693359375f), hn::Add(r, y));
  const auto zero = hn::Zero(d), infinity = hn::Set(d, INFINITY);
  y = hn::IfThenElse(hn::Lt(x, infinity), y, x);  // infinity and NaN
  y = hn::IfThenElse(hn::Eq(x, zero), hn::Neg(infinity), y);
  return hn::IfThenElse(hn::Lt(x, zero), hn::Set(d, NAN), y);
}

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
