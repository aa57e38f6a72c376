// SPDX-License-Identifier: Apache-2.0
// Mapping   All segments end to end are one range of elements, of which each thread takes a share;
//           elements don't depend on each other.
// Traffic   RMSprop and SGD read w, g and one average and write two of them, AdamW one average
//           more: 20 and 28 bytes an element, 2 more with the bf16 copy.
// Numerics  float32. Factors such as 1 - rho and 1 - beta^t are taken in float64 first.
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/core/parallel.h"
#include "kernels/optimizer/optimizer_update.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/optimizer/optimizer_update_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/core/simd_loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

using Tag = hn::ScalableTag<float>;
using Vector = hn::Vec<Tag>;

/// One part of a segment: elements begin .. begin + count of the flat arrays.
struct Part {
  std::int64_t begin, count;
  float weight_decay, scale;
};

/// Calls update(index, at, w, g), which returns the new w, for all vectors of the part.
template <class Update>
HWY_INLINE void for_each_weight(const OptimizerArrays& a, const Part& part, Update&& update) {
  const Tag d;
  const Vector scale = hn::Set(d, part.scale);
  for_each_vector(d, std::size_t(part.count), [&](std::size_t first, const auto& at) HWY_ATTR {
    const std::int64_t i = part.begin + std::int64_t(first);
    const Vector g = hn::Mul(at.load(d, a.gradient + i), scale);
    const Vector w = update(i, at, at.load(d, a.weight + i), g);
    at.store(d, w, a.weight + i);
    if (a.copy != nullptr) at.store(d, w, a.copy + i);
  });
}

}  // namespace

void rmsprop_part(const RmspropUpdate& p, std::int64_t begin, std::int64_t count,
                  float weight_decay, float scale) {
  const Tag d;
  const Vector decay = hn::Set(d, weight_decay), rate = hn::Set(d, p.arrays.learning_rate);
  const Vector rho = hn::Set(d, p.rho), fresh = hn::Set(d, float(1 - double(p.rho)));
  const Vector eps = hn::Set(d, p.eps);
  for_each_weight(p.arrays, {begin, count, weight_decay, scale},
                  [&](std::int64_t i, const auto& at, Vector w, Vector g) HWY_ATTR {
                    g = hn::MulAdd(decay, w, g);
                    const Vector old = hn::Mul(rho, at.load(d, p.square + i));
                    const Vector v = hn::MulAdd(hn::Mul(fresh, g), g, old);
                    at.store(d, v, p.square + i);
                    const Vector step = hn::Div(hn::Mul(rate, g), hn::Add(hn::Sqrt(v), eps));
                    return hn::Sub(w, step);
                  });
}

void adamw_part(const AdamwUpdate& p, std::int64_t begin, std::int64_t count, float weight_decay,
                float scale) {
  const Tag d;
  const double correction1 = 1 - std::pow(double(p.beta1), double(p.step));
  const double correction2 = 1 - std::pow(double(p.beta2), double(p.step));
  const double rate = double(p.arrays.learning_rate);
  const Vector keep = hn::Set(d, float(1 - rate * double(weight_decay)));
  const Vector corrected_rate = hn::Set(d, float(rate / correction1));
  const Vector correct2 = hn::Set(d, float(1 / correction2));
  const Vector beta1 = hn::Set(d, p.beta1), fresh1 = hn::Set(d, float(1 - double(p.beta1)));
  const Vector beta2 = hn::Set(d, p.beta2), fresh2 = hn::Set(d, float(1 - double(p.beta2)));
  const Vector eps = hn::Set(d, p.eps);
  for_each_weight(p.arrays, {begin, count, weight_decay, scale},
                  [&](std::int64_t i, const auto& at, Vector w, Vector g) HWY_ATTR {
                    const Vector m = hn::MulAdd(fresh1, g, hn::Mul(beta1, at.load(d, p.mean + i)));
                    const Vector old = hn::Mul(beta2, at.load(d, p.square + i));
                    const Vector v = hn::MulAdd(hn::Mul(fresh2, g), g, old);
                    at.store(d, m, p.mean + i);
                    at.store(d, v, p.square + i);
                    const Vector spread = hn::Add(hn::Sqrt(hn::Mul(v, correct2)), eps);
                    return hn::Sub(hn::Mul(w, keep), hn::Div(hn::Mul(corrected_rate, m), spread));
                  });
}

void sgd_part(const SgdUpdate& p, std::int64_t begin, std::int64_t count, float weight_decay,
              float scale) {
  const Tag d;
  const Vector decay = hn::Set(d, weight_decay), rate = hn::Set(d, p.arrays.learning_rate);
  const Vector momentum = hn::Set(d, p.momentum);
  for_each_weight(p.arrays, {begin, count, weight_decay, scale},
                  [&](std::int64_t i, const auto& at, Vector w, Vector g) HWY_ATTR {
                    g = hn::MulAdd(decay, w, g);
                    const Vector m = hn::MulAdd(momentum, at.load(d, p.momentum_buffer + i), g);
                    at.store(d, m, p.momentum_buffer + i);
                    return hn::NegMulAdd(rate, m, w);
                  });
}

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::cpu {
namespace {

HWY_EXPORT(rmsprop_part);
HWY_EXPORT(adamw_part);
HWY_EXPORT(sgd_part);

constexpr std::int64_t kGrain = 16384;  // elements per thread; a guess: some 10 microseconds

/// Calls part(begin, count, weight_decay, scale) for pieces that cover all segments, on all
/// threads.
template <class RunPart>
void for_each_part(const OptimizerArrays& a, const RunPart& part) {
  HH_PRECONDITION(a.f16_copy == nullptr, "the optimizer's f16 copy is for a GPU");
  if (a.skip != nullptr && a.skip[0] != 0) return;
  const float scale = a.scale != nullptr ? a.scale[0] : 1;
  std::int64_t total = 0;
  for (int s = 0; s < a.segment_count; ++s) total += a.segments[s].count;
  parallel_for(total, kGrain, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t first = 0;  // of segment s, in the count over all segments
    for (int s = 0; s < a.segment_count && first < end; first += a.segments[s++].count) {
      const OptimizerSegment& segment = a.segments[s];
      const std::int64_t from = std::max(begin, first), to = std::min(end, first + segment.count);
      if (from < to) part(segment.begin + from - first, to - from, segment.weight_decay, scale);
    }
  });
}

}  // namespace

void run(const RmspropUpdate& p) {
  p.validate();
  for_each_part(p.arrays, [&](std::int64_t begin, std::int64_t count, float decay, float scale) {
    HWY_DYNAMIC_DISPATCH(rmsprop_part)(p, begin, count, decay, scale);
  });
}

void run(const AdamwUpdate& p) {
  p.validate();
  for_each_part(p.arrays, [&](std::int64_t begin, std::int64_t count, float decay, float scale) {
    HWY_DYNAMIC_DISPATCH(adamw_part)(p, begin, count, decay, scale);
  });
}

void run(const SgdUpdate& p) {
  p.validate();
  for_each_part(p.arrays, [&](std::int64_t begin, std::int64_t count, float decay, float scale) {
    HWY_DYNAMIC_DISPATCH(sgd_part)(p, begin, count, decay, scale);
  });
}

}  // namespace hh::cpu
#endif
