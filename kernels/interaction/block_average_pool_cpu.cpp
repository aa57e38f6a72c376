// SPDX-License-Identifier: Apache-2.0
// Mapping   Forward: one task per output pixel and block of channels; its sums lie in the first
//           cache. Backward: one task per row of dx.
// Traffic   x is read once, in runs of s*C values; y is small. Backward writes (and, adding, reads)
//           dx once.
// Numerics  float32 sums, pixels in row-major order in groups of four.
#include <algorithm>
#include <type_traits>

#include "kernels/core/parallel.h"
#include "kernels/interaction/block_average_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/interaction/block_average_pool_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/core/simd_loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

constexpr std::int64_t kBlock = 1024;  // channels whose sums are held at a time, at most

/// sums[0, n) += pixels 0 .. kPixels-1, which lie `pitch` apart.
template <int kPixels, class T>
HWY_INLINE void add_pixels(const T* x, std::int64_t pitch, std::int64_t n, float* sums) {
  const hn::ScalableTag<float> d;
  for_each_vector(d, std::size_t(n), [&](std::size_t c, auto at) {
    auto sum = hn::LoadU(d, sums + c);
    for (int k = 0; k < kPixels; ++k) sum = hn::Add(sum, at.load(d, x + k * pitch + c));
    hn::StoreU(sum, d, sums + c);
  });
}

template <class T>
HWY_INLINE void forward_tasks(const BlockAveragePoolForward<T>& p, std::int64_t block,
                              std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const std::int64_t g = p.grid, s = p.side, pitch = p.channels;
  const std::int64_t blocks = (pitch + block - 1) / block;
  const auto scale = hn::Set(d, 1 / (float(s) * float(s)));
  HWY_ALIGN float sums[kBlock + hn::MaxLanes(d)];
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t pixel = task / blocks, first = task % blocks * block;
    const std::int64_t n = std::min(block, pitch - first);
    const std::int64_t j = pixel % g, row = pixel / g;  // row = b*g + i: of the stacked images
    std::fill_n(sums, n + std::int64_t(hn::Lanes(d)), 0.f);
    for (std::int64_t u = 0; u < s; ++u) {
      const T* x = p.x + ((row * s + u) * g + j) * s * pitch + first;
      std::int64_t v = 0;
      for (; v + 4 <= s; v += 4) add_pixels<4>(x + v * pitch, pitch, n, sums);
      for (; v < s; ++v) add_pixels<1>(x + v * pitch, pitch, n, sums);
    }
    T* y = p.y + pixel * pitch + first;
    for_each_vector(d, std::size_t(n), [&](std::size_t c, auto at) {
      at.store(d, hn::Mul(hn::LoadU(d, sums + c), scale), y + c);
    });
  }
}

template <class T>
HWY_INLINE void backward_rows(const BlockAveragePoolBackward<T>& p, std::int64_t begin,
                              std::int64_t end) {
  const hn::ScalableTag<float> d;
  const std::int64_t g = p.grid, s = p.side, pitch = p.channels;
  const auto scale = hn::Set(d, 1 / (float(s) * float(s)));
  for (std::int64_t row = begin; row < end; ++row) {
    const T* dy = p.dy + row / s * g * pitch;
    T* dx = p.dx + row * g * s * pitch;
    for (std::int64_t j = 0; j < g * s; ++j, dx += pitch) {
      const T* from = dy + j / s * pitch;
      for_each_vector(d, std::size_t(pitch), [&](std::size_t c, auto at) {
        const auto v = at.load(d, from + c);
        at.store(d, p.accumulate ? hn::MulAdd(v, scale, at.load(d, dx + c)) : hn::Mul(v, scale),
                 dx + c);
      });
    }
  }
}

}  // namespace

void forward_f32(const BlockAveragePoolForward<float>& p, std::int64_t block, std::int64_t begin,
                 std::int64_t end) {
  forward_tasks(p, block, begin, end);
}
void forward_bf16(const BlockAveragePoolForward<bf16>& p, std::int64_t block, std::int64_t begin,
                  std::int64_t end) {
  forward_tasks(p, block, begin, end);
}
void backward_f32(const BlockAveragePoolBackward<float>& p, std::int64_t begin, std::int64_t end) {
  backward_rows(p, begin, end);
}
void backward_bf16(const BlockAveragePoolBackward<bf16>& p, std::int64_t begin, std::int64_t end) {
  backward_rows(p, begin, end);
}

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::cpu {
namespace {

HWY_EXPORT(forward_f32);
HWY_EXPORT(forward_bf16);
HWY_EXPORT(backward_f32);
HWY_EXPORT(backward_bf16);

constexpr std::int64_t kGrain = 32768;  // values per thread; a guess: some ten microseconds of work

}  // namespace

template <class T>
void run(const BlockAveragePoolForward<T>& p) {
  p.validate();
  const std::int64_t pixels = std::int64_t{p.images} * p.grid * p.grid;
  // With fewer pixels than threads, channels are shared out too. The block changes no sum.
  std::int64_t block = 1024;
  if (pixels < num_threads()) block = 128;
  const std::int64_t blocks = (p.channels + block - 1) / block;
  const std::int64_t work =
      std::int64_t{p.side} * p.side * std::min<std::int64_t>(block, p.channels);
  parallel_for(pixels * blocks, std::max<std::int64_t>(1, kGrain / work),
               [&](std::int64_t begin, std::int64_t end) {
                 if constexpr (std::is_same_v<T, float>) {
                   HWY_DYNAMIC_DISPATCH(forward_f32)(p, block, begin, end);
                 } else {
                   HWY_DYNAMIC_DISPATCH(forward_bf16)(p, block, begin, end);
                 }
               });
}

template <class T>
void run(const BlockAveragePoolBackward<T>& p) {
  p.validate();
  const std::int64_t side = std::int64_t{p.grid} * p.side;
  parallel_for(p.images * side, std::max<std::int64_t>(1, kGrain / (side * p.channels)),
               [&](std::int64_t begin, std::int64_t end) {
                 if constexpr (std::is_same_v<T, float>) {
                   HWY_DYNAMIC_DISPATCH(backward_f32)(p, begin, end);
                 } else {
                   HWY_DYNAMIC_DISPATCH(backward_bf16)(p, begin, end);
                 }
               });
}

template void run(const BlockAveragePoolForward<float>&);
template void run(const BlockAveragePoolForward<bf16>&);
template void run(const BlockAveragePoolBackward<float>&);
template void run(const BlockAveragePoolBackward<bf16>&);

}  // namespace hh::cpu
#endif
