// SPDX-License-Identifier: Apache-2.0
// Traffic   Reads each part once and writes the sum, which stays in a register meanwhile.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/optimizer/shard_sum_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per target.
#include <cstdint>

#include "kernels/core/parallel.h"
#include "kernels/core/simd_loop-inl.h"
#include "kernels/optimizer/shard_sum.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

void sum_range(const ShardSum& p, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  for_each_vector(d, std::size_t(end - begin), [&](std::size_t i, auto at) HWY_ATTR {
    const float* part = p.parts + begin + std::int64_t(i);
    auto sum = at.load(d, part);
    for (int r = 1; r < p.ranks; ++r) {
      part += p.n;
      sum = hn::Add(sum, at.load(d, part));
    }
    at.store(d, sum, p.sum + begin + std::int64_t(i));
  });
}

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::cpu {
namespace {

HWY_EXPORT(sum_range);

}  // namespace

void run(const ShardSum& p) {
  p.validate();
  constexpr std::int64_t kGrain = 16384;  // a guess: some microseconds of work
  parallel_for(p.n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(sum_range)(p, begin, end);
  });
}

}  // namespace hh::cpu
#endif
