// SPDX-License-Identifier: Apache-2.0
// Traffic   Both directions read and write each element of the maps once; the backward pass reads
//           the tokens' gradient a second time for dpos. A map is a transpose of its tokens.
// Numerics  One float32 addition, rounded to T. dpos is added up over the images in their order.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/interaction/interaction_tokens_cpu.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/core/parallel.h"
#include "kernels/core/simd-inl.h"
#include "kernels/core/transpose-inl.h"
#include "kernels/interaction/interaction_tokens.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {

constexpr std::int64_t kGrain = 16384;  // elements per thread; a guess: a few microseconds of work

/// Vectors no longer than a column of the map.
template <class Body>
void with_lanes_for(int positions, const Body& body) {
  if (positions < 8) return body(hn::CappedTag<float, 4>());
  if (positions < 16) return body(hn::CappedTag<float, 8>());
  body(hn::ScalableTag<float>());
}

template <class Body>
void for_each_image(int images, std::int64_t size, const Body& body) {
  parallel_for(images, std::max<std::int64_t>(1, kGrain / size),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t b = begin; b < end; ++b) body(b * size);
               });
}

template <class T>
void forward(const InteractionTokensForward<T>& p) {
  const std::size_t m = p.positions, channels = p.channels;
  with_lanes_for(p.positions, [&](auto d) HWY_ATTR {
    for_each_image(p.images, m * channels, [&](std::int64_t at) HWY_ATTR {
      transpose<false>(d, p.z + at, channels, m, channels, p.tokens + at, m,
                       [&](auto v, std::size_t i, std::size_t count) HWY_ATTR {
                         const bool whole = count == hn::MaxLanes(d);
                         return hn::Add(
                             v, whole ? hn::LoadU(d, p.pos + i) : load_f32_n(d, p.pos + i, count));
                       });
    });
  });
}

template <class T>
void backward(const InteractionTokensBackward<T>& p) {
  const std::size_t m = p.positions, channels = p.channels, size = m * channels;
  const hn::ScalableTag<float> d;
  // The tokens as C rows of M, back to M rows of C.
  for_each_image(p.images, size, [&](std::int64_t at) HWY_ATTR {
    transpose<false>(d, p.dtokens + at, m, channels, m, p.dz + at, channels);
  });
  if (p.images == 0) return;
  constexpr std::int64_t kLanes = hn::MaxLanes(d);
  const std::int64_t vectors = (size + kLanes - 1) / kLanes;
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / kLanes / p.images);
  parallel_for(vectors, grain, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    for (std::int64_t f = begin * kLanes; f < end * kLanes; f += kLanes) {
      const std::size_t count = std::min<std::size_t>(kLanes, size - f);
      const auto add_images = [&](auto load, auto store) HWY_ATTR {
        auto sum = load(p.dpos + f);
        for (int b = 0; b < p.images; ++b) sum = hn::Add(sum, load(p.dtokens + b * size + f));
        store(sum);
      };
      if (count == kLanes) {
        add_images([&](const auto* from) HWY_ATTR { return load_f32(d, from); },
                   [&](auto sum) HWY_ATTR { hn::StoreU(sum, d, p.dpos + f); });
      } else {
        add_images([&](const auto* from) HWY_ATTR { return load_f32_n(d, from, count); },
                   [&](auto sum) HWY_ATTR { store_f32_n(d, sum, p.dpos + f, count); });
      }
    }
  });
}

void forward_f32(const InteractionTokensForward<float>& p) { forward(p); }
void forward_bf16(const InteractionTokensForward<bf16>& p) { forward(p); }
void backward_f32(const InteractionTokensBackward<float>& p) { backward(p); }
void backward_bf16(const InteractionTokensBackward<bf16>& p) { backward(p); }

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::cpu {
namespace {

HWY_EXPORT(forward_f32);
HWY_EXPORT(forward_bf16);
HWY_EXPORT(backward_f32);
HWY_EXPORT(backward_bf16);

}  // namespace

template <class T>
void run(const InteractionTokensForward<T>& p) {
  p.validate();
  if constexpr (std::is_same_v<T, float>) {
    HWY_DYNAMIC_DISPATCH(forward_f32)(p);
  } else {
    HWY_DYNAMIC_DISPATCH(forward_bf16)(p);
  }
}

template <class T>
void run(const InteractionTokensBackward<T>& p) {
  p.validate();
  if constexpr (std::is_same_v<T, float>) {
    HWY_DYNAMIC_DISPATCH(backward_f32)(p);
  } else {
    HWY_DYNAMIC_DISPATCH(backward_bf16)(p);
  }
}

template void run(const InteractionTokensForward<float>&);
template void run(const InteractionTokensForward<bf16>&);
template void run(const InteractionTokensBackward<float>&);
template void run(const InteractionTokensBackward<bf16>&);

}  // namespace hh::cpu
#endif  // HWY_ONCE
