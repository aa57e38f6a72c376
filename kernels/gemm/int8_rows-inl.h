// SPDX-License-Identifier: Apache-2.0
// Rows of float32 to bytes, and sums of products of bytes back: what layers whose products are of bytes share.
// Included like simd-inl.h, once per target.
#if defined(HH_KERNELS_GEMM_INT8_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HH_KERNELS_GEMM_INT8_ROWS_INL_H_
#undef HH_KERNELS_GEMM_INT8_ROWS_INL_H_
#else
#define HH_KERNELS_GEMM_INT8_ROWS_INL_H_
#endif

#include <cstdint>

#include "kernels/core/simd_loop-inl.h"
#include "kernels/gemm/int8_layer.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

constexpr hn::ScalableTag<float> kFloats;
constexpr hn::ScalableTag<std::int32_t> kInts;

/// The bits of the largest magnitude: as integers they are in order, with infinity and then NaNs at
/// the end, which a maximum of floats would lose.
HWY_INLINE std::int32_t largest_magnitude(const float* x, std::size_t n) {
  auto most = hn::Zero(kInts);
  for_each_vector(kFloats, n, [&](std::size_t i, auto at) HWY_ATTR {
    most = hn::Max(most, hn::BitCast(kInts, hn::Abs(at.load(kFloats, x + i))));
  });
  return hn::GetLane(hn::MaxOfLanes(kInts, most));
}

/// q + 128 of each row, and its s.
[[maybe_unused]] void quantise(const float* x, std::int64_t rows, std::int64_t n, std::uint8_t* q,
                               float* scales) {
  constexpr float kLeast = 1e-30f, kInfinity = __builtin_inff(), kNan = __builtin_nanf("");
  const auto offset = hn::Set(kInts, 128);
  for (std::int64_t r = 0; r < rows; ++r, x += n, q += n) {
    const std::int32_t bits = largest_magnitude(x, std::size_t(n));
    const float most = __builtin_bit_cast(float, bits);
    const bool finite = most < kInfinity, some = finite && most >= kLeast;
    scales[r] = finite ? (some ? most / 127 : 0) : kNan;
    const auto inverse = hn::Set(kFloats, some ? 127 / most : 0);
    for_each_vector(kFloats, std::size_t(n), [&](std::size_t i, auto at) HWY_ATTR {
      // A NaN's conversion gives the least integer, which storing as a byte makes 0.
      const auto v = hn::NearestInt(hn::Mul(at.load(kFloats, x + i), inverse));
      at.store_code(kFloats, hn::Add(v, offset), q + i);
    });
  }
}

HWY_INLINE hn::Vec<decltype(kInts)> load_ints(WholeVector, const std::int32_t* p) {
  return hn::LoadU(kInts, p);
}
HWY_INLINE hn::Vec<decltype(kInts)> load_ints(PartVector part, const std::int32_t* p) {
  HWY_ALIGN std::int32_t buffer[hn::MaxLanes(kInts)] = {};
  for (std::size_t i = 0; i < part.count; ++i) buffer[i] = p[i];
  return hn::Load(kInts, buffer);
}

/// y = f(a sum's value) of a piece's sums, which may lie in the same memory.
template <class F>
HWY_INLINE void finish_rows(const std::int32_t* sums, std::int64_t rows, std::int64_t n,
                            const float* row_scales, const Int8Layer& layer, const float* bias,
                            float* y, const F& f) {
  for (std::int64_t r = 0; r < rows; ++r, sums += n, y += n) {
    const auto row_scale = hn::Set(kFloats, row_scales[r]);
    for_each_vector(kFloats, std::size_t(n), [&](std::size_t c, auto at) HWY_ATTR {
      const auto sum = hn::ConvertTo(
          kFloats, hn::Sub(load_ints(at, sums + c), load_ints(at, layer.corrections + c)));
      const auto scale = hn::Mul(row_scale, at.load(kFloats, layer.scales + c));
      const auto add = bias == nullptr ? hn::Zero(kFloats) : at.load(kFloats, bias + c);
      at.store(kFloats, f(hn::MulAdd(sum, scale, add)), y + c);
    });
  }
}

[[maybe_unused]] void finish_plain(const std::int32_t* sums, std::int64_t rows, std::int64_t n,
                                   const float* row_scales, const Int8Layer& layer,
                                   const float* bias, float* y) {
  finish_rows(sums, rows, n, row_scales, layer, bias, y, [](auto v) HWY_ATTR { return v; });
}

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
