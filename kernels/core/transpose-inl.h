// SPDX-License-Identifier: Apache-2.0
// Transposition of a matrix in blocks of Lanes(d) rows by 4 columns, with a conversion of storage
// types and an operation on the way. Included like simd-inl.h, once per target.
#if defined(HH_KERNELS_CORE_TRANSPOSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HH_KERNELS_CORE_TRANSPOSE_INL_H_
#undef HH_KERNELS_CORE_TRANSPOSE_INL_H_
#else
#define HH_KERNELS_CORE_TRANSPOSE_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>

#include "kernels/core/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR
// One lane, hence no blocks: v[j] is column j of the row before and after.
template <class D>
HWY_INLINE void transpose_blocks(D, hn::Vec<D> (&)[4]) {}

template <class D, class T>
HWY_INLINE void load_tile(D d, const T* from, std::size_t, std::size_t, std::size_t cols,
                          hn::Vec<D> (&v)[4]) {
  for (std::size_t j = 0; j < 4; ++j) v[j] = j < cols ? load_f32(d, from + j) : hn::Zero(d);
}
#else
/// Four values from each of Lanes(d) / 4 rows, one 128-bit block a row.
template <class D, class T>
HWY_INLINE hn::Vec<D> load_blocks(D d, const T* p, std::size_t pitch) {
  if constexpr (hn::MaxLanes(D()) <= 4) {
    return load_f32(d, p);
  } else {
    const hn::Half<D> half;
    const std::size_t rows = hn::MaxLanes(half) / 4;
    return hn::Combine(d, load_blocks(half, p + rows * pitch, pitch), load_blocks(half, p, pitch));
  }
}

/// v[i] holds columns 0..3 of rows i, i+4, i+8, ... in its blocks; afterwards v[j] holds column j
/// of all rows in order.
template <class D>
HWY_INLINE void transpose_blocks(D d, hn::Vec<D> (&v)[4]) {
  const hn::Repartition<double, D> d2;
  const auto pair = [&](hn::Vec<D> x) HWY_ATTR { return hn::BitCast(d2, x); };
  const auto low01 = pair(hn::InterleaveLower(d, v[0], v[1]));
  const auto high01 = pair(hn::InterleaveUpper(d, v[0], v[1]));
  const auto low23 = pair(hn::InterleaveLower(d, v[2], v[3]));
  const auto high23 = pair(hn::InterleaveUpper(d, v[2], v[3]));
  v[0] = hn::BitCast(d, hn::InterleaveLower(d2, low01, low23));
  v[1] = hn::BitCast(d, hn::InterleaveUpper(d2, low01, low23));
  v[2] = hn::BitCast(d, hn::InterleaveLower(d2, high01, high23));
  v[3] = hn::BitCast(d, hn::InterleaveUpper(d2, high01, high23));
}

/// Lanes(d) rows by 4 columns as transpose_blocks wants them; zero outside `rows` and `cols`.
template <class D, class T>
HWY_INLINE void load_tile(D d, const T* from, std::size_t pitch, std::size_t rows, std::size_t cols,
                          hn::Vec<D> (&v)[4]) {
  constexpr std::size_t kLanes = hn::MaxLanes(D());
  if (HWY_LIKELY(rows >= kLanes && cols >= 4)) {
    for (std::size_t i = 0; i < 4; ++i) v[i] = load_blocks(d, from + i * pitch, 4 * pitch);
    return;
  }
  HWY_ALIGN float tile[kLanes * 4] = {};
  const hn::CappedTag<float, 4> d4;
  for (std::size_t r = 0; r < std::min(rows, kLanes); ++r) {
    if (cols >= 4) {
      hn::StoreU(load_f32(d4, from + r * pitch), d4, tile + r * 4);
    } else {
      for (std::size_t c = 0; c < cols; ++c) tile[r * 4 + c] = to_float(from[r * pitch + c]);
    }
  }
  for (std::size_t i = 0; i < 4; ++i) v[i] = load_blocks(d, tile + i * 4, 16);
}

#endif

struct Unchanged {
  template <class V>
  HWY_INLINE V operator()(V v, std::size_t, std::size_t) const {
    return v;
  }
};

/// to[c*to_pitch + r] = from[r*pitch + c] for r < rows, c < cols, passed through f(vector of
/// consecutive r, where it goes in `to`, how many of its lanes count). With kPad, rows of `to` are
/// written to the next multiple of Lanes(d), from zeros.
template <bool kPad, class D, class From, class To, class F = Unchanged>
HWY_INLINE void transpose(D d, const From* from, std::size_t pitch, std::size_t rows,
                          std::size_t cols, To* to, std::size_t to_pitch, const F& f = F()) {
  constexpr std::size_t kLanes = hn::MaxLanes(D());
  for (std::size_t r = 0; r < rows; r += kLanes) {
    for (std::size_t c = 0; c < cols; c += 4) {
      hn::Vec<D> v[4];
      load_tile(d, from + r * pitch + c, pitch, rows - r, cols - c, v);
      transpose_blocks(d, v);
      const std::size_t valid = std::min<std::size_t>(4, cols - c);
      for (std::size_t j = 0; j < valid; ++j) {
        const std::size_t at = (c + j) * to_pitch + r, count = std::min(rows - r, kLanes);
        const auto value = f(v[j], at, count);
        if (kPad || count == kLanes) {
          store_f32(d, value, to + at);
        } else {
          store_f32_n(d, value, to + at, count);
        }
      }
    }
  }
}

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
