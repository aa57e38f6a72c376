// SPDX-License-Identifier: Apache-2.0
// GELU and its derivative on float32 vectors. Both come from a function of a = |v| that is
// tabulated as polynomials on eight pieces, which needs no exponential and half the instructions of
// one:
//
//   gelu(v)  = max(v, 0) - a Q(a),         Q(a) = 1 - Phi(a), the upper tail
//   gelu'(v) = 1/2 + sign(v) K(a),         K(a) = Phi(a) + a phi(a) - 1/2
//
// Piece k is around a = k/s, k = 0 .. 7, and its polynomial is in w = a s - k, -1/2 <= w <= 1/2.
// The polynomials are minimax fits made for this file. A vector register holds one coefficient of
// all pieces, and a permutation picks that of each lane. Included like simd-inl.h, once per target.
#if defined(HH_KERNELS_LINEAR_GELU_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HH_KERNELS_LINEAR_GELU_INL_H_
#undef HH_KERNELS_LINEAR_GELU_INL_H_
#else
#define HH_KERNELS_LINEAR_GELU_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>

#include "kernels/linear/gelu_table.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// The tabulated function at a >= 0; past the last piece its last value. A NaN gives any number.
template <class D, std::size_t kDegree>
HWY_INLINE hn::Vec<D> piecewise(D d, const PiecewiseTable<kDegree>& table, hn::Vec<D> a) {
  const hn::RebindToSigned<D> di;
  a = hn::Min(a, hn::Set(d, 7 / table.scale));
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
  const auto magic = hn::Set(d, 12582912.0f), scale = hn::Set(d, table.scale);
  const auto shifted = hn::MulAdd(a, scale, magic);
  const auto w = hn::MulSub(a, scale, hn::Sub(shifted, magic));
  const auto piece = hn::And(hn::BitCast(di, shifted), hn::Set(di, 7));
#if HWY_TARGET <= HWY_AVX2
  const auto index = hn::IndicesFromVec(d, piece);
  const auto coefficient = [&](std::size_t k) HWY_ATTR {
    return hn::TableLookupLanes(hn::Load(d, table.coefficients[k]), index);
  };
#else
  const auto coefficient = [&](std::size_t k) HWY_ATTR {
    return hn::GatherIndex(d, table.coefficients[k], piece);
  };
#endif
  auto y = coefficient(kDegree);
  for (std::size_t k = kDegree; k-- > 0;) y = hn::MulAdd(y, w, coefficient(k));
  return y;
}

/// Errs by at most 1 unit of 2^-24 of v (from Q) and the rounding of the result.
template <class D>
HWY_INLINE hn::Vec<D> gelu(D d, hn::Vec<D> v) {
  const auto a = hn::Abs(v);
  return hn::NegMulAdd(a, piecewise(d, kNormalTail, a), hn::Max(v, hn::Zero(d)));
}

/// Errs by at most 2 units of 2^-24, absolutely.
template <class D>
HWY_INLINE hn::Vec<D> gelu_gradient(D d, hn::Vec<D> v) {
  return hn::Add(hn::Set(d, 0.5f), hn::CopySignToAbs(piecewise(d, kGeluSlope, hn::Abs(v)), v));
}

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
