// SPDX-License-Identifier: Apache-2.0
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise/add_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per target.
#include <cstdint>

#include "kernels/core/parallel.h"
#include "kernels/core/simd_loop-inl.h"
#include "kernels/elementwise/add.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

template <class T>
HWY_INLINE void add_range(const T* x, T* y, std::size_t n) {
  const hn::ScalableTag<float> d;
  for_each_vector(d, n, [&](std::size_t i, auto at) HWY_ATTR {
    at.store(d, hn::Add(at.load(d, y + i), at.load(d, x + i)), y + i);
  });
}

void add_f32(const float* x, float* y, std::size_t n) { add_range(x, y, n); }
void add_bf16(const bf16* x, bf16* y, std::size_t n) { add_range(x, y, n); }

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::cpu {
namespace {

HWY_EXPORT(add_f32);
HWY_EXPORT(add_bf16);

void add_values(const float* x, float* y, std::size_t n) { HWY_DYNAMIC_DISPATCH(add_f32)(x, y, n); }
void add_values(const bf16* x, bf16* y, std::size_t n) { HWY_DYNAMIC_DISPATCH(add_bf16)(x, y, n); }

}  // namespace

template <class T>
void run(const Add<T>& p) {
  p.validate();
  constexpr std::int64_t kGrain = 32768;  // a guess: some microseconds of work
  parallel_for(p.n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    add_values(p.x + begin, p.y + begin, std::size_t(end - begin));
  });
}

template void run(const Add<float>&);
template void run(const Add<bf16>&);

}  // namespace hh::cpu
#endif
