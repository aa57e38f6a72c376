// SPDX-License-Identifier: Apache-2.0
// Threads   Conversions share out elements, column sums blocks of rows: see rows.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/rows.cpp"
#include <hwy/foreach_target.h>
// clang-format: foreach_target.h must come first.
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/core/simd-inl.h"
#include "kernels/gemm/rows.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

template <class From, class To>
void convert(const From* from, std::int64_t n, To* to) {
  const hn::ScalableTag<float> d;
  const auto lanes = std::int64_t(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) store_f32(d, load_f32(d, from + i), to + i);
  const auto rest = std::size_t(n - i);
  if (rest != 0) store_f32_n(d, load_f32_n(d, from + i, rest), to + i, rest);
}
void widen_range(const bf16* from, std::int64_t n, float* to) { convert(from, n, to); }
void narrow_range(const float* from, std::int64_t n, bf16* to) { convert(from, n, to); }

/// The columns from c on, kVectors vectors at a time, then fewer. Returns where less than one is left.
template <int kVectors, class T>
std::int64_t sum_whole_vectors(const T* a, std::int64_t rows, std::int64_t cols, std::int64_t c,
                               float* sums) {
  const hn::ScalableTag<float> d;
  constexpr auto kLanes = std::int64_t(hn::MaxLanes(d));
  for (; c + kVectors * kLanes <= cols; c += kVectors * kLanes) {
    hn::Vec<decltype(d)> s[kVectors];
#pragma GCC unroll 8
    for (auto& v : s) v = hn::Zero(d);
    const T* p = a + c;
    for (std::int64_t r = 0; r < rows; ++r, p += cols) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) s[v] = hn::Add(s[v], load_f32(d, p + v * kLanes));
    }
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) hn::StoreU(s[v], d, sums + c + v * kLanes);
  }
  if constexpr (kVectors > 1) return sum_whole_vectors<kVectors - 1>(a, rows, cols, c, sums);
  return c;
}

template <class T>
void sum_columns(const T* a, std::int64_t rows, std::int64_t cols, float* sums) {
  const hn::ScalableTag<float> d;
  const std::int64_t c = sum_whole_vectors<8>(a, rows, cols, 0, sums);
  if (c == cols) return;
  const auto count = std::size_t(cols - c);
  auto s = hn::Zero(d);
  for (std::int64_t r = 0; r < rows; ++r) {
    s = hn::Add(s, load_f32_n(d, a + r * cols + c, count));
  }
  store_f32_n(d, s, sums + c, count);
}
void sum_columns_f32(const float* a, std::int64_t rows, std::int64_t cols, float* sums) {
  sum_columns(a, rows, cols, sums);
}
void sum_columns_bf16(const bf16* a, std::int64_t rows, std::int64_t cols, float* sums) {
  sum_columns(a, rows, cols, sums);
}

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/core/parallel.h"

namespace hh::cpu {
namespace {

HWY_EXPORT(widen_range);
HWY_EXPORT(narrow_range);
HWY_EXPORT(sum_columns_f32);
HWY_EXPORT(sum_columns_bf16);

constexpr std::int64_t kGrain = 16384;  // elements per thread: a few microseconds of streaming

}  // namespace

void widen(const bf16* from, std::int64_t n, float* to) {
  parallel_for(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(widen_range)(from + begin, end - begin, to + begin);
  });
}

void narrow(const float* from, std::int64_t n, bf16* to) {
  parallel_for(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(narrow_range)(from + begin, end - begin, to + begin);
  });
}

template <>
void column_sums(const float* a, std::int64_t rows, int cols, float* sums) {
  HWY_DYNAMIC_DISPATCH(sum_columns_f32)(a, rows, cols, sums);
}
template <>
void column_sums(const bf16* a, std::int64_t rows, int cols, float* sums) {
  HWY_DYNAMIC_DISPATCH(sum_columns_bf16)(a, rows, cols, sums);
}

void add_partials(const float* partials, std::int64_t parts, std::int64_t n, float* into) {
  parallel_for(n, std::max<std::int64_t>(64, kGrain / std::max<std::int64_t>(parts, 1)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t p = 0; p < parts; ++p) {
                   const float* from = partials + p * n;
                   for (std::int64_t i = begin; i < end; ++i) into[i] += from[i];
                 }
               });
}

template <class T>
void add_column_sums(const T* a, std::int64_t rows, int cols, float* partials, float* into) {
  const std::int64_t blocks = row_blocks(rows);
  parallel_for(blocks, std::max<std::int64_t>(1, kGrain / (kBlockRows * cols)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t b = begin; b < end; ++b) {
                   const std::int64_t r = b * kBlockRows;
                   column_sums(a + r * cols, std::min(kBlockRows, rows - r), cols,
                               partials + b * cols);
                 }
               });
  add_partials(partials, blocks, cols, into);
}
template void add_column_sums(const float*, std::int64_t, int, float*, float*);
template void add_column_sums(const bf16*, std::int64_t, int, float*, float*);

}  // namespace hh::cpu
#endif  // HWY_ONCE
