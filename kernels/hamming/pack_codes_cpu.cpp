// SPDX-License-Identifier: Apache-2.0
// Traffic   Reads every value and writes every word once.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/hamming/pack_codes_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per target.
#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

#include "kernels/core/parallel.h"
#include "kernels/hamming/pack_codes.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// Signs of up to 64 values.
std::uint64_t pack_word(const float* values, std::size_t count) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  std::uint64_t word = 0;
  std::size_t j = 0;
  for (; j + lanes <= count; j += lanes) {
    std::uint8_t bits[8] = {};
    hn::StoreMaskBits(d, hn::Gt(hn::LoadU(d, values + j), hn::Zero(d)), bits);
    word |= (std::uint64_t{bits[0]} | std::uint64_t{bits[1]} << 8) << j;
  }
  for (; j < count; ++j) word |= std::uint64_t{values[j] > 0} << j;
  return word;
}

void pack_rows(const PackCodes& p, std::int64_t begin, std::int64_t end) {
  const int words = (p.bits + 63) / 64;
  for (std::int64_t i = begin; i < end; ++i) {
    for (int w = 0; w < words; ++w) {
      p.words[i * words + w] =
          pack_word(p.values + i * p.bits + 64 * w, std::size_t(std::min(64, p.bits - 64 * w)));
    }
  }
}

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::cpu {
namespace {
HWY_EXPORT(pack_rows);
}  // namespace

void run(const PackCodes& p) {
  p.validate();
  constexpr std::int64_t kGrain = 65536;  // values per thread; a guess: about ten microseconds
  parallel_for(p.count, std::max<std::int64_t>(1, kGrain / p.bits),
               [&](std::int64_t begin, std::int64_t end) {
                 HWY_DYNAMIC_DISPATCH(pack_rows)(p, begin, end);
               });
}

}  // namespace hh::cpu
#endif
