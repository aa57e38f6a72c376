// GELU and its derivative on float32 vectors. Both come from the upper tail of the normal
// distribution, Q(a) = 1 - Phi(a) with a = |v|, which unlike Phi doesn't cancel:
//
//   gelu(v)  = max(v, 0) - a Q(a)
//   gelu'(v) = H(a) for v < 0 and 1 - H(a) for v >= 0, with H(a) = Q(a) - a phi(a)
//
// The polynomials are minimax fits made for this file. Included like simd-inl.h, once per target.
#if defined(HH_KERNELS_ELEMENTWISE_GELU_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HH_KERNELS_ELEMENTWISE_GELU_INL_H_
#undef HH_KERNELS_ELEMENTWISE_GELU_INL_H_
#else
#define HH_KERNELS_ELEMENTWISE_GELU_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/core/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {

template <class D>
HWY_INLINE hn::Vec<D> polynomial(D d, hn::Vec<D>, float c) {
  return hn::Set(d, c);
}
/// c0 + c1 x + c2 x^2 ...
template <class D, class... Rest>
HWY_INLINE hn::Vec<D> polynomial(D d, hn::Vec<D> x, float c0, float c1, Rest... rest) {
  return hn::MulAdd(polynomial(d, x, c1, rest...), x, hn::Set(d, c0));
}

/// log2 Q is smooth and nearly quadratic, so one polynomial and 2^x give Q with a small relative
/// error in the tail too: at most 3 (1 + |log2 Q|) units of 2^-24 for a <= 6.5. Beyond, Q < 2^-34
/// and the polynomial goes on falling, to minus infinity.
template <class D>
HWY_INLINE hn::Vec<D> gelu(D d, hn::Vec<D> v) {
  const auto a = hn::Abs(v);
  const auto log2_q =
      polynomial(d, a, -0.999999821f, -1.15111279f, -0.459153175f, -0.0526379719f, 0.00722581893f,
                 -0.000219366659f, -0.000177714304f, 4.78501388e-05f, -6.21474919e-06f,
                 4.2905512e-07f, -1.25481998e-08f);
  return hn::NegMulAdd(a, exp2_normal(d, log2_q), hn::Max(v, hn::Zero(d)));
}

/// H(a) e^(a^2/2) is a polynomial within 0.3 units of 2^-24, weighted by e^(-a^2/2); the derivative
/// errs by at most 2 units of 2^-24 (absolute).
template <class D>
HWY_INLINE hn::Vec<D> gelu_gradient(D d, hn::Vec<D> v) {
  // Beyond 13 the exponential is nothing, and the polynomial had better not overflow.
  const auto a = hn::Min(hn::Abs(v), hn::Set(d, 13.0f));
  const auto e = exp2_normal(d, hn::Mul(hn::Mul(a, hn::Set(d, -0.72134752f)), a));
  const auto h =
      hn::Mul(e, polynomial(d, a, 0.49999997f, -0.797882855f, 0.249972567f, -0.13280578f,
                            0.0619239323f, -0.0254718177f, 0.00900384784f, -0.00259009027f,
                            0.00056365272f, -8.47709889e-05f, 7.70877887e-06f, -3.15543019e-07f));
  return hn::IfThenElse(hn::Lt(v, hn::Zero(d)), h, hn::Sub(hn::Set(d, 1.0f), h));
}

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
