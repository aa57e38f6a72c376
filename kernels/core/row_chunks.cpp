// SPDX-License-Identifier: Apache-2.0
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/core/row_chunks.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per target.
#include "kernels/core/row_chunks.h"
#include "kernels/core/simd_loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

void add_chunks(const float* from, std::size_t chunks, std::size_t pitch, std::size_t cols,
                float* to) {
  const hn::ScalableTag<float> d;
  for_each_vector(d, cols, [&](std::size_t c, auto at) HWY_ATTR {
    auto sum = hn::Zero(d);
    for (std::size_t i = 0; i < chunks; ++i) sum = hn::Add(sum, at.load(d, from + i * pitch + c));
    at.store(d, hn::Add(sum, at.load(d, to + c)), to + c);
  });
}

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::cpu {
namespace {

HWY_EXPORT(add_chunks);

}  // namespace

void ChunkSums::add_to(float* to, std::int64_t first, std::int64_t cols) const {
  HWY_DYNAMIC_DISPATCH(add_chunks)
  (sums_ + first, std::size_t(chunks_.count), pitch_, std::size_t(cols), to);
}

}  // namespace hh::cpu
#endif
