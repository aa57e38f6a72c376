// SPDX-License-Identifier: Apache-2.0
// Register-blocked products of matrices that fit the caches: what attention, the loss and narrow weight
// gradients on CPUs are made of. Included like simd-inl.h, once per target.
#if defined(HH_KERNELS_GEMM_SMALL_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HH_KERNELS_GEMM_SMALL_PRODUCT_INL_H_
#undef HH_KERNELS_GEMM_SMALL_PRODUCT_INL_H_
#else
#define HH_KERNELS_GEMM_SMALL_PRODUCT_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <bit>
#include <cstddef>

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Where the left factor's element of row r and depth k is: kRowsApart a[r*stride + k],
/// kRowsTogether a[k*stride + r].
enum class Left { kRowsApart, kRowsTogether };

/// c[r*c_pitch + x] (+)= lane_scale[x] * (lane_start[x] + sum_k left(r, k) * b[k*b_pitch + x]), for
/// x < vectors*Lanes.
struct Product {
  std::size_t rows, depth, vectors;
  const float* a;
  std::size_t a_stride;
  const float* b;
  std::size_t b_pitch;
  float* c;
  std::size_t c_pitch;
  bool add = false;                   // to what c holds
  const float* lane_scale = nullptr;  // [vectors*Lanes], or null for 1
  const float* lane_start = nullptr;  // [vectors*Lanes], or null for 0
};

// Accumulators are rows x vectors registers; 4 x 3 and 8 x 3, 6 x 2 and 12 x 2 leave just enough of 16
// and 32 for a row of the right factor and one broadcast.
constexpr std::size_t kMaxVectors = 3;
constexpr bool kManyRegisters = HWY_TARGET <= HWY_AVX3;
constexpr std::size_t max_rows(std::size_t vectors) {
  return (vectors == 1 ? 8 : vectors == 2 ? 6 : 4) * (kManyRegisters ? 2 : 1);
}

/// body(first, count) on parts of [0, vectors) of at most kMaxVectors, as even as possible: 4
/// vectors are 2 + 2, since 3 + 1 would starve the multipliers.
template <class Body>
HWY_INLINE void in_even_parts(std::size_t vectors, const Body& body) {
  for (std::size_t first = 0; first < vectors;) {
    const std::size_t rest = vectors - first, parts = (rest + kMaxVectors - 1) / kMaxVectors;
    const std::size_t count = parts == 1 ? rest : (rest + parts - 1) / parts;
    body(first, count);
    first += count;
  }
}

template <Left kLeft, std::size_t kAhead, std::size_t kRows, std::size_t kVectors, class D>
HWY_INLINE void product_block(D d, const Product& p, const float* HWY_RESTRICT a,
                              const float* HWY_RESTRICT b, float* HWY_RESTRICT c,
                              const float* lane_scale, const float* lane_start) {
  constexpr std::size_t kLanes = hn::MaxLanes(D());
  hn::Vec<D> sum[kRows][kVectors];
#pragma GCC unroll 4
  for (std::size_t v = 0; v < kVectors; ++v) {
    const auto start = lane_start == nullptr ? hn::Zero(d) : hn::LoadU(d, lane_start + v * kLanes);
#pragma GCC unroll 16
    for (std::size_t r = 0; r < kRows; ++r) sum[r][v] = start;
  }
  const std::size_t stride = p.a_stride, b_pitch = p.b_pitch, depth = p.depth;
  const auto term = [&]() HWY_ATTR {
    hn::Vec<D> right[kVectors];
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) {
      if constexpr (kAhead != 0) hwy::Prefetch(b + kAhead * b_pitch + v * kLanes);
      right[v] = hn::LoadU(d, b + v * kLanes);
    }
#pragma GCC unroll 16
    for (std::size_t r = 0; r < kRows; ++r) {
      const auto left = hn::Set(d, kLeft == Left::kRowsApart ? a[r * stride] : a[r]);
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) {
        sum[r][v] = hn::MulAdd(left, right[v], sum[r][v]);
      }
    }
    b += b_pitch;
    a += kLeft == Left::kRowsApart ? 1 : stride;
  };
  // Two at a turn: docs/decisions/gemm.md.
  for (std::size_t k = 0; k < depth / 2; ++k) {
    term();
    term();
  }
  if (depth % 2 != 0) term();
  // Pass by pass, and the pitch in a local: a store may alias p, so each would read p again.
  const std::size_t c_pitch = p.c_pitch;
  if (lane_scale != nullptr) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) {
      const auto scale = hn::LoadU(d, lane_scale + v * kLanes);
#pragma GCC unroll 16
      for (std::size_t r = 0; r < kRows; ++r) sum[r][v] = hn::Mul(sum[r][v], scale);
    }
  }
  if (p.add) {
#pragma GCC unroll 16
    for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) {
        sum[r][v] = hn::Add(sum[r][v], hn::LoadU(d, c + r * c_pitch + v * kLanes));
      }
    }
  }
#pragma GCC unroll 16
  for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) {
      hn::StoreU(sum[r][v], d, c + r * c_pitch + v * kLanes);
    }
  }
}

template <Left kLeft, std::size_t kAhead, std::size_t kRows, std::size_t kVectors, class D,
          class Meanwhile>
HWY_INLINE void product_rows(D d, const Product& p, std::size_t row, std::size_t lane,
                             Meanwhile& meanwhile) {
  const float* const scale = p.lane_scale == nullptr ? nullptr : p.lane_scale + lane;
  const float* const start = p.lane_start == nullptr ? nullptr : p.lane_start + lane;
  for (; row + kRows <= p.rows; row += kRows) {
    meanwhile();
    product_block<kLeft, kAhead, kRows, kVectors>(
        d, p, p.a + row * (kLeft == Left::kRowsApart ? p.a_stride : 1), p.b + lane,
        p.c + row * p.c_pitch + lane, scale, start);
  }
  if constexpr (kRows > 1) {
    product_rows<kLeft, kAhead, std::bit_floor(kRows - 1), kVectors>(d, p, row, lane, meanwhile);
  }
}

struct Nothing {
  HWY_INLINE void operator()() const {}
};

/// kAhead: how many rows ahead `b` is prefetched, where it comes from memory; 0 for not at all.
/// `meanwhile` is called before each block of rows, for what may overlap, such as prefetching
/// what comes next.
template <Left kLeft, std::size_t kAhead = 0, class D, class Meanwhile = const Nothing>
HWY_NOINLINE void product(D d, const Product& p, Meanwhile&& meanwhile = Nothing()) {
  in_even_parts(p.vectors, [&](std::size_t first, std::size_t count) HWY_ATTR {
    const std::size_t lane = first * hn::MaxLanes(D());
    switch (count) {
      case 1:
        return product_rows<kLeft, kAhead, max_rows(1), 1>(d, p, 0, lane, meanwhile);
      case 2:
        return product_rows<kLeft, kAhead, max_rows(2), 2>(d, p, 0, lane, meanwhile);
      default:
        return product_rows<kLeft, kAhead, max_rows(3), 3>(d, p, 0, lane, meanwhile);
    }
  });
}

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
