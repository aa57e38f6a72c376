// SPDX-License-Identifier: Apache-2.0
// Mapping   Forward: tiles of 4 images x 4 bits, each logit a vector of partial sums over channels.
//           Backward: dpooled by blocks of 4 images, dweight by blocks of 4 bits, both with vectors
//           along the channels; dlogits of a block is recomputed on the stack.
// Traffic   The operands are a few hundred KB and stay in the caches.
// Numerics  float32. A logit is added up in the same order wherever its tile lies. dweight and
//           dbias add up the images in their order.
#include <algorithm>
#include <type_traits>

#include "kernels/core/parallel.h"
#include "kernels/hash/hash_head.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/hash/hash_head_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// After highway.h
#include <hwy/contrib/math/math-inl.h>

#include "kernels/core/simd_loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

constexpr std::int64_t kTile = 4;
constexpr std::int64_t kMaxBits = HashHeadForward<float>::kMaxBits;

/// Logits of kImages x kBits, without the bias.
template <int kImages, int kBits, class T>
HWY_INLINE void logits_tile(const HashHeadForward<T>& p, std::int64_t b, std::int64_t k) {
  const hn::ScalableTag<float> d;
  const std::int64_t n = p.channels;
  hn::Vec<decltype(d)> sums[kImages][kBits];
  for (auto& row : sums) {
    for (auto& sum : row) sum = hn::Zero(d);
  }
  for_each_vector(d, std::size_t(n), [&](std::size_t c, auto at) {
    hn::Vec<decltype(d)> x[kImages];
    for (int i = 0; i < kImages; ++i) x[i] = at.load(d, p.pooled + (b + i) * n + c);
    for (int j = 0; j < kBits; ++j) {
      const auto w = at.load(d, p.weight + (k + j) * n + c);
      for (int i = 0; i < kImages; ++i) sums[i][j] = hn::MulAdd(x[i], w, sums[i][j]);
    }
  });
  for (int i = 0; i < kImages; ++i) {
    for (int j = 0; j < kBits; ++j) {
      p.logits[(b + i) * p.bits + k + j] =
          hn::GetLane(hn::SumOfLanes(d, sums[i][j])) + p.bias[k + j];
    }
  }
}

template <int kImages, class T>
HWY_INLINE void logits_rows(const HashHeadForward<T>& p, std::int64_t b) {
  std::int64_t k = 0;
  for (; k + kTile <= p.bits; k += kTile) logits_tile<kImages, kTile>(p, b, k);
  for (; k < p.bits; ++k) logits_tile<kImages, 1>(p, b, k);
}

template <class T>
HWY_INLINE void forward_images(const HashHeadForward<T>& p, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  std::int64_t b = begin;
  for (; b + kTile <= end; b += kTile) logits_rows<kTile>(p, b);
  for (; b < end; ++b) logits_rows<1>(p, b);
  for_each_vector(d, std::size_t((end - begin) * p.bits), [&](std::size_t i, auto at) {
    i += std::size_t(begin * p.bits);
    at.store(d, hn::Tanh(d, at.load(d, p.logits + i)), p.code + i);
  });
}

template <class T>
HWY_INLINE float dlogit(const HashHeadBackward<T>& p, std::int64_t b, std::int64_t k) {
  const float code = p.code[b * p.bits + k];
  return p.dcode[b * p.bits + k] * ((1 - code) * (1 + code));
}

/// sums[kRows][n] of factor(r, i) * row i of `from`, i < count; passes each row's vectors to
/// `done`.
template <int kRows, class T, class Done>
HWY_INLINE void weighted_sums(const T* from, std::int64_t pitch, std::int64_t count,
                              const float* factors, std::int64_t factor_pitch, Done&& done) {
  const hn::ScalableTag<float> d;
  for_each_vector(d, std::size_t(pitch), [&](std::size_t c, auto at) {
    hn::Vec<decltype(d)> sums[kRows];
    for (auto& sum : sums) sum = hn::Zero(d);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto x = at.load(d, from + i * pitch + c);
      for (int r = 0; r < kRows; ++r) {
        sums[r] = hn::MulAdd(hn::Set(d, factors[r * factor_pitch + i]), x, sums[r]);
      }
    }
    for (int r = 0; r < kRows; ++r) done(r, c, sums[r], at);
  });
}

template <int kImages, class T>
HWY_INLINE void dpooled_rows(const HashHeadBackward<T>& p, std::int64_t b) {
  const hn::ScalableTag<float> d;
  float dlogits[kImages * kMaxBits];
  for (int i = 0; i < kImages; ++i) {
    for (std::int64_t k = 0; k < p.bits; ++k) dlogits[i * kMaxBits + k] = dlogit(p, b + i, k);
  }
  weighted_sums<kImages>(p.weight, p.channels, p.bits, dlogits, kMaxBits,
                         [&](int i, std::size_t c, auto sum, auto at) {
                           at.store(d, sum, p.dpooled + (b + i) * p.channels + c);
                         });
}

template <class T>
HWY_INLINE void backward_images(const HashHeadBackward<T>& p, std::int64_t begin,
                                std::int64_t end) {
  std::int64_t b = begin;
  for (; b + kTile <= end; b += kTile) dpooled_rows<kTile>(p, b);
  for (; b < end; ++b) dpooled_rows<1>(p, b);
}

template <int kBits, class T>
HWY_INLINE void dweight_rows(const HashHeadBackward<T>& p, std::int64_t k) {
  const hn::ScalableTag<float> d;
  constexpr std::int64_t kImages = 256;  // at a time, for the stack's sake
  float dlogits[kBits * kImages];
  for (std::int64_t b = 0; b < p.images; b += kImages) {
    const std::int64_t count = std::min<std::int64_t>(kImages, p.images - b);
    for (int j = 0; j < kBits; ++j) {
      float sum = 0;
      for (std::int64_t i = 0; i < count; ++i) {
        sum += dlogits[j * kImages + i] = dlogit(p, b + i, k + j);
      }
      p.dbias[k + j] += sum;
    }
    weighted_sums<kBits>(p.pooled + b * p.channels, p.channels, count, dlogits, kImages,
                         [&](int j, std::size_t c, auto sum, auto at) {
                           float* to = p.dweight + (k + j) * p.channels + c;
                           at.store(d, hn::Add(at.load(d, to), sum), to);
                         });
  }
}

template <class T>
HWY_INLINE void backward_bits(const HashHeadBackward<T>& p, std::int64_t begin, std::int64_t end) {
  std::int64_t k = begin;
  for (; k + kTile <= end; k += kTile) dweight_rows<kTile>(p, k);
  for (; k < end; ++k) dweight_rows<1>(p, k);
}

}  // namespace

void forward_f32(const HashHeadForward<float>& p, std::int64_t begin, std::int64_t end) {
  forward_images(p, begin, end);
}
void forward_bf16(const HashHeadForward<bf16>& p, std::int64_t begin, std::int64_t end) {
  forward_images(p, begin, end);
}
void images_f32(const HashHeadBackward<float>& p, std::int64_t begin, std::int64_t end) {
  backward_images(p, begin, end);
}
void images_bf16(const HashHeadBackward<bf16>& p, std::int64_t begin, std::int64_t end) {
  backward_images(p, begin, end);
}
void bits_f32(const HashHeadBackward<float>& p, std::int64_t begin, std::int64_t end) {
  backward_bits(p, begin, end);
}
void bits_bf16(const HashHeadBackward<bf16>& p, std::int64_t begin, std::int64_t end) {
  backward_bits(p, begin, end);
}

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::cpu {
namespace {

HWY_EXPORT(forward_f32);
HWY_EXPORT(forward_bf16);
HWY_EXPORT(images_f32);
HWY_EXPORT(images_bf16);
HWY_EXPORT(bits_f32);
HWY_EXPORT(bits_bf16);

constexpr std::int64_t kGrain = 1 << 18;  // multiplications per thread; a guess: some ten us

/// body(begin, end) on whole tiles of [0, n): where a tile starts doesn't depend on the threads.
template <class Body>
void for_tiles(std::int64_t n, std::int64_t work_of_one, const Body& body) {
  constexpr std::int64_t kTile = 4;
  parallel_for(
      (n + kTile - 1) / kTile, std::max<std::int64_t>(1, kGrain / (kTile * work_of_one)),
      [&](std::int64_t begin, std::int64_t end) { body(begin * kTile, std::min(end * kTile, n)); });
}

}  // namespace

template <class T>
void run(const HashHeadForward<T>& p) {
  p.validate();
  for_tiles(p.images, std::int64_t{p.bits} * p.channels, [&](std::int64_t begin, std::int64_t end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(forward_f32)(p, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(forward_bf16)(p, begin, end);
    }
  });
}

template <class T>
void run(const HashHeadBackward<T>& p) {
  p.validate();
  if (p.images == 0) return;
  for_tiles(p.images, std::int64_t{p.bits} * p.channels, [&](std::int64_t begin, std::int64_t end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(images_f32)(p, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(images_bf16)(p, begin, end);
    }
  });
  for_tiles(p.bits, std::int64_t{p.images} * p.channels, [&](std::int64_t begin, std::int64_t end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(bits_f32)(p, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(bits_bf16)(p, begin, end);
    }
  });
}

template void run(const HashHeadForward<float>&);
template void run(const HashHeadForward<bf16>&);
template void run(const HashHeadBackward<float>&);
template void run(const HashHeadBackward<bf16>&);

}  // namespace hh::cpu
#endif
