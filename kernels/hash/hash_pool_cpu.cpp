// SPDX-License-Identifier: Apache-2.0
// Mapping   Forward: one task per image and block of channels, whose mean lies in the first cache.
//           Backward: one task per row of dlocal; each pixel gathers from the windows that hold it,
//           at most four, so dlocal is written once and nothing is scattered.
// Traffic   local and dlocal pass through memory once: neighbouring windows meet in the cache.
// Numerics  float32; windows in row-major order.
#include <algorithm>
#include <type_traits>

#include "kernels/core/parallel.h"
#include "kernels/hash/hash_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/hash/hash_pool_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/core/simd_loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

constexpr std::int64_t kBlock = 1024;  // channels whose mean is held at a time, at most

template <bool kTrain, class T>
HWY_INLINE void forward_tasks(const HashPoolForward<T>& p, std::int64_t block, std::int64_t begin,
                              std::int64_t end) {
  const hn::ScalableTag<float> d;
  const CodeTag<decltype(d)> di;
  const std::int64_t s = p.side, o = (s - 1) / 2 + 1, pitch = p.channels;
  const std::int64_t blocks = (pitch + block - 1) / block;
  const auto scale = hn::Set(d, 1 / (float(o) * float(o)));
  HWY_ALIGN float mean[kBlock + hn::MaxLanes(d)];
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t b = task / blocks, first = task % blocks * block;
    const std::int64_t n = std::min(block, pitch - first);
    std::fill_n(mean, n + std::int64_t(hn::Lanes(d)), 0.f);
    const T* image = p.local + b * s * s * pitch + first;
    const T* glob = p.glob + b * pitch + first;
    for (std::int64_t i = 0; i < o; ++i) {
      for (std::int64_t j = 0; j < o; ++j) {
        // Offsets u, v of the window that lie inside the map; (1, 1) always does.
        const int u0 = i == 0 ? 1 : 0, u1 = 2 * i + 1 < s ? 3 : 2;
        const int v0 = j == 0 ? 1 : 0, v1 = 2 * j + 1 < s ? 3 : 2;
        const T* window = image + ((2 * i - 1) * s + 2 * j - 1) * pitch;
        for_each_vector(d, std::size_t(n), [&](std::size_t c, auto at) {
          const auto add = at.load(d, glob + c);
          auto most = hn::Add(at.load(d, window + (u0 * s + v0) * pitch + c), add);
          auto code = hn::Set(di, 3 * u0 + v0);
          for (int u = u0; u < u1; ++u) {
            for (int v = v0; v < v1; ++v) {
              const auto x = hn::Add(at.load(d, window + (u * s + v) * pitch + c), add);
              const auto wins = hn::Gt(x, most);  // strictly: the first of equals stays
              most = hn::IfThenElse(wins, x, most);
              if (kTrain) {
                code = hn::IfThenElse(hn::RebindMask(di, wins), hn::Set(di, 3 * u + v), code);
              }
            }
          }
          hn::StoreU(hn::Add(hn::LoadU(d, mean + c), most), d, mean + c);
          if (kTrain) {
            at.store_code(d, code,
                          p.argmax + ((b * o + i) * o + j) * pitch + first + std::int64_t(c));
          }
        });
      }
    }
    for_each_vector(d, std::size_t(n), [&](std::size_t c, auto at) {
      at.store(d, hn::Mul(hn::LoadU(d, mean + c), scale), p.pooled + b * pitch + first + c);
    });
  }
}

template <class T>
HWY_INLINE void backward_rows(const HashPoolBackward<T>& p, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const CodeTag<decltype(d)> di;
  const std::int64_t s = p.side, o = (s - 1) / 2 + 1, pitch = p.channels;
  const auto scale = hn::Set(d, 1 / (float(o) * float(o)));
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t b = row / s, r = row % s;
    const T* dpooled = p.dpooled + b * pitch;
    // Window i holds row r where 2i - 1 <= r <= 2i + 1.
    const std::int64_t i0 = r / 2, i1 = std::min((r + 1) / 2, o - 1);
    for (std::int64_t q = 0; q < s; ++q) {
      const std::int64_t j0 = q / 2, j1 = std::min((q + 1) / 2, o - 1);
      T* dlocal = p.dlocal + (row * s + q) * pitch;
      for_each_vector(d, std::size_t(pitch), [&](std::size_t c, auto at) {
        const auto g = hn::Mul(at.load(d, dpooled + c), scale);
        auto sum = hn::Zero(d);
        for (std::int64_t i = i0; i <= i1; ++i) {
          for (std::int64_t j = j0; j <= j1; ++j) {
            const auto mine = hn::Set(di, int(3 * (r - 2 * i + 1) + q - 2 * j + 1));
            const auto code = at.load_code(d, p.argmax + ((b * o + i) * o + j) * pitch + c);
            sum = hn::Add(sum, hn::IfThenElseZero(hn::RebindMask(d, hn::Eq(code, mine)), g));
          }
        }
        at.store(d, sum, dlocal + c);
      });
    }
  }
}

template <class T>
HWY_INLINE void forward_any(const HashPoolForward<T>& p, std::int64_t block, std::int64_t begin,
                            std::int64_t end) {
  if (p.argmax != nullptr) return forward_tasks<true>(p, block, begin, end);
  forward_tasks<false>(p, block, begin, end);
}

}  // namespace

void forward_f32(const HashPoolForward<float>& p, std::int64_t block, std::int64_t begin,
                 std::int64_t end) {
  forward_any(p, block, begin, end);
}
void forward_bf16(const HashPoolForward<bf16>& p, std::int64_t block, std::int64_t begin,
                  std::int64_t end) {
  forward_any(p, block, begin, end);
}
void backward_f32(const HashPoolBackward<float>& p, std::int64_t begin, std::int64_t end) {
  backward_rows(p, begin, end);
}
void backward_bf16(const HashPoolBackward<bf16>& p, std::int64_t begin, std::int64_t end) {
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
void run(const HashPoolForward<T>& p) {
  p.validate();
  // With fewer images than threads, channels are shared out too. The block changes no result.
  const std::int64_t block = p.images < num_threads() ? 128 : 1024;
  const std::int64_t blocks = (p.channels + block - 1) / block;
  const std::int64_t work =
      std::int64_t{p.side} * p.side * std::min<std::int64_t>(block, p.channels);
  parallel_for(p.images * blocks, std::max<std::int64_t>(1, kGrain / work),
               [&](std::int64_t begin, std::int64_t end) {
                 if constexpr (std::is_same_v<T, float>) {
                   HWY_DYNAMIC_DISPATCH(forward_f32)(p, block, begin, end);
                 } else {
                   HWY_DYNAMIC_DISPATCH(forward_bf16)(p, block, begin, end);
                 }
               });
}

template <class T>
void run(const HashPoolBackward<T>& p) {
  p.validate();
  const std::int64_t rows = std::int64_t{p.images} * p.side;
  parallel_for(rows, std::max<std::int64_t>(1, kGrain / (std::int64_t{p.side} * p.channels)),
               [&](std::int64_t begin, std::int64_t end) {
                 if constexpr (std::is_same_v<T, float>) {
                   HWY_DYNAMIC_DISPATCH(backward_f32)(p, begin, end);
                 } else {
                   HWY_DYNAMIC_DISPATCH(backward_bf16)(p, begin, end);
                 }
               });
}

template void run(const HashPoolForward<float>&);
template void run(const HashPoolForward<bf16>&);
template void run(const HashPoolBackward<float>&);
template void run(const HashPoolBackward<bf16>&);

}  // namespace hh::cpu
#endif
