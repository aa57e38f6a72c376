// SPDX-License-Identifier: Apache-2.0
// Mapping   Forward: a thread walks over rows of windows. Of the normalised map there exist four
//           pixels at a time, the column to their left, and the row above as maxima over three
//           columns: the maximum is separable, and so are its ties. Backward: a chunk is a band of
//           an image; it goes over the same 2 x 2 pixels and gathers from the four windows that
//           hold them. The vertical half of the upsampling is done once per row; its transpose
//           likewise.
// Traffic   Forward reads local once and writes out, argmax and the statistics; backward reads
//           dout, argmax and local once and writes dlocal. The rest is some 100 KB of scratch.
// Numerics  float32; the variance is the mean squared deviation. The number of chunks depends on
//           the sizes alone; their sums of dglob, dgamma and dbeta are added up in order.
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/core/check_workspace.h"
#include "kernels/core/parallel.h"
#include "kernels/core/workspace.h"
#include "kernels/interaction/interaction_merge.h"
#include "kernels/interaction/interaction_merge_layout.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/interaction/interaction_merge_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

// After highway.h
#include <hwy/cache_control.h>

#include "kernels/core/simd_loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

using F32 = hn::ScalableTag<float>;
using Float = hn::Vec<F32>;

/// Row `tap` of the global map, upsampled vertically: m pixels, and one of zeros.
template <class T>
HWY_INLINE void upsample_row(const T* glob, std::int64_t grid, std::int64_t channels,
                             std::int64_t pitch, const Tap& tap, float* up) {
  const F32 d;
  const auto w0 = hn::Set(d, tap.w0), w1 = hn::Set(d, tap.w1);
  const T* row0 = glob + tap.first * grid * channels;
  const T* row1 = tap.first + 1 < grid ? row0 + grid * channels : row0;
  for (std::int64_t g = 0; g < grid; ++g) {
    for_each_vector(d, std::size_t(channels), [&](std::size_t c, auto at) {
      const auto below = hn::Mul(w1, at.load(d, row1 + g * channels + c));
      hn::StoreU(hn::MulAdd(w0, at.load(d, row0 + g * channels + c), below), d, up + g * pitch + c);
    });
  }
  std::fill_n(up + grid * pitch, pitch, 0.f);
}

/// One pixel of sum = local + up(glob).
template <class T>
struct Pixel {
  const T* local;
  const float* up0;  // the two pixels of the upsampled row
  const float* up1;
  float w0, w1;

  template <class At>
  HWY_INLINE Float sum(F32 d, std::size_t c, At at) const {
    const auto left = hn::MulAdd(hn::Set(d, w0), hn::LoadU(d, up0 + c), at.load(d, local + c));
    return hn::MulAdd(hn::Set(d, w1), hn::LoadU(d, up1 + c), left);
  }
};

template <class T>
HWY_INLINE Pixel<T> make_pixel(const T* local, const float* up_row, std::int64_t pitch,
                               const Tap& tap) {
  const float* up = up_row + tap.first * pitch;
  return {local, up, up + pitch, tap.w0, tap.w1};
}

/// How far ahead, in pixels, lies what should be on its way to the cache while the 2 x 2 pixels at
/// (row, 2j) are worked on; 0 near the end. The processor's own prefetching starts anew on every
/// page and row. About 512 channels, 8 KB of each map: of 512 channels, two blocks were slower than
/// one, since they displace what is in use from the first cache.
HWY_INLINE std::int64_t prefetch_distance(std::int64_t h, std::int64_t channels, std::int64_t row,
                                          std::int64_t j) {
  const std::int64_t blocks = std::clamp<std::int64_t>(512 / channels, 1, 4);
  if (j + blocks < h / 2) return 2 * blocks;
  if (row + 3 >= h || j + blocks >= h) return 0;
  return h + 2 * blocks;  // two rows down, h columns back
}

/// Sums of kPixels pixels, and their statistics. All pixels go through the same operations, so
/// equal pixels tie exactly.
template <int kPixels, class T>
HWY_INLINE void sum_pixels(const Pixel<T>* pixels, std::int64_t channels, std::int64_t pitch,
                           std::int64_t ahead, float eps, float* sums, float* mean, float* rstd) {
  const F32 d;
  Float total[kPixels];
  for (auto& t : total) t = hn::Zero(d);
  for_each_vector(d, std::size_t(channels), [&](std::size_t c, auto at) {
    for (int k = 0; k < kPixels; ++k) {
      hwy::Prefetch(pixels[k].local + ahead + c);
      const auto sum = at.within(d, pixels[k].sum(d, c, at));
      total[k] = hn::Add(total[k], sum);
      hn::StoreU(sum, d, sums + k * pitch + std::int64_t(c));
    }
  });
  for (int k = 0; k < kPixels; ++k) {
    mean[k] = hn::GetLane(hn::SumOfLanes(d, total[k])) / float(channels);
    total[k] = hn::Zero(d);
  }
  for_each_vector(d, std::size_t(channels), [&](std::size_t c, auto at) {
    for (int k = 0; k < kPixels; ++k) {
      const auto off = at.within(
          d, hn::Sub(hn::LoadU(d, sums + k * pitch + std::int64_t(c)), hn::Set(d, mean[k])));
      total[k] = hn::MulAdd(off, off, total[k]);
    }
  });
  for (int k = 0; k < kPixels; ++k) {
    const float variance = hn::GetLane(hn::SumOfLanes(d, total[k])) / float(channels);
    rstd[k] = 1 / std::sqrt(variance + eps);
  }
}

/// Takes x where it exceeds the maximum so far: strictly, so the first of equals stays.
template <class Codes>
HWY_INLINE void challenge(F32, Float x, Codes code, Float& most, Codes& winner) {
  const auto wins = hn::Gt(x, most);
  most = hn::IfThenElse(wins, x, most);
  winner = hn::IfThenElse(hn::RebindMask(CodeTag<F32>(), wins), code, winner);
}

/// Rows `row` .. row + kRows - 1 of an image. kRows = 2: the windows around `row`, whose upper
/// third is in scratch.above. kRows = 1: nothing but scratch.above.
template <int kRows, bool kTrain, class T>
HWY_INLINE void merge_rows(const InteractionMergeForward<T>& p, const MergeLayout& layout,
                           const ForwardScratch& scratch, std::int64_t b, std::int64_t row) {
  const F32 d;
  const CodeTag<F32> di;
  const std::int64_t m = p.shape.grid, s = p.shape.factor, h = m * s, n = p.shape.channels;
  const std::int64_t pitch = layout.pitch, half = layout.half;
  for (std::int64_t t = 0; t < kRows; ++t) {
    upsample_row(p.glob + b * m * m * n, m, n, pitch, Tap(row + t, m, s),
                 scratch.up + t * layout.grid_row);
  }
  // Padding is minus infinity under the code of the window's centre, so whatever the values are,
  // argmax names a pixel of the map.
  const float padding = -std::numeric_limits<float>::infinity();
  std::fill_n(scratch.left, kRows * pitch, padding);
  for (std::int64_t j = 0; j < half; ++j) {
    Pixel<T> pixels[2 * kRows];
    for (std::int64_t t = 0; t < kRows; ++t) {
      for (std::int64_t v = 0; v < 2; ++v) {
        pixels[2 * t + v] =
            make_pixel(p.local + ((b * h + row + t) * h + 2 * j + v) * n,
                       scratch.up + t * layout.grid_row, pitch, Tap(2 * j + v, m, s));
      }
    }
    float mean[2 * kRows], rstd[2 * kRows];
    sum_pixels<2 * kRows>(pixels, n, pitch, prefetch_distance(h, n, row, j) * n, p.eps,
                          scratch.sums, mean, rstd);
    if (kTrain && kRows == 2) {
      for (std::int64_t t = 0; t < kRows; ++t) {
        for (std::int64_t v = 0; v < 2; ++v) {
          p.mean[(b * h + row + t) * h + 2 * j + v] = mean[2 * t + v];
          p.rstd[(b * h + row + t) * h + 2 * j + v] = rstd[2 * t + v];
        }
      }
    }
    float* above = scratch.above + j * pitch;
    std::int32_t* above_code = scratch.above_code + j * pitch;
    const std::int64_t out = ((b * half + row / 2) * half + j) * n;
    const auto left_code = hn::Set(di, j == 0 ? 1 : 0);
    for_each_vector(d, std::size_t(n), [&](std::size_t c, auto at) {
      const auto gamma = at.load(d, p.gamma + c), beta = at.load(d, p.beta + c);
      Float most[kRows];
      hn::Vec<CodeTag<F32>> code[kRows];
      for (int t = 0; t < kRows; ++t) {
        Float norm[2];
        for (int v = 0; v < 2; ++v) {
          const int k = 2 * t + v;
          const auto sum = hn::LoadU(d, scratch.sums + k * pitch + std::int64_t(c));
          const auto xhat = hn::Mul(hn::Sub(sum, hn::Set(d, mean[k])), hn::Set(d, rstd[k]));
          norm[v] = hn::MulAdd(xhat, gamma, beta);
        }
        float* left = scratch.left + t * pitch + c;
        most[t] = hn::LoadU(d, left);
        code[t] = left_code;
        challenge(d, norm[0], hn::Set(di, 1), most[t], code[t]);
        challenge(d, norm[1], hn::Set(di, 2), most[t], code[t]);
        hn::StoreU(norm[1], d, left);
      }
      if constexpr (kRows == 2) {
        auto window = hn::LoadU(d, above + c);
        auto winner = hn::Zero(di);
        if (kTrain) winner = hn::LoadU(di, above_code + c);
        challenge(d, most[0], hn::Add(code[0], hn::Set(di, 3)), window, winner);
        challenge(d, most[1], hn::Add(code[1], hn::Set(di, 6)), window, winner);
        at.store(d, window, p.out + out + c);
        if (kTrain) at.store_code(d, winner, p.argmax + out + c);
      }
      hn::StoreU(most[kRows - 1], d, above + c);
      if (kTrain) hn::StoreU(code[kRows - 1], di, above_code + c);
    });
  }
}

/// Rows of windows begin .. end - 1, counted through all images.
template <bool kTrain, class T>
HWY_INLINE void forward_rows(const InteractionMergeForward<T>& p, Workspace own, std::int64_t begin,
                             std::int64_t end) {
  const MergeLayout layout(p.shape);
  const ForwardScratch scratch(layout, own);
  for (std::int64_t r = begin; r < end; ++r) {
    const std::int64_t b = r / layout.half, i = r % layout.half;
    if (i == 0) {
      std::fill_n(scratch.above, layout.half * layout.pitch,
                  -std::numeric_limits<float>::infinity());
      std::fill_n(scratch.above_code, layout.half * layout.pitch, 4);
    } else if (r == begin) {
      merge_rows<1, kTrain>(p, layout, scratch, b, 2 * i - 1);
    }
    merge_rows<2, kTrain>(p, layout, scratch, b, 2 * i);
  }
}

/// One of the windows that hold a 2 x 2 block of pixels; one outside the map has zeros.
template <class T>
struct Window {
  const T* dout;
  const std::uint8_t* argmax;

  /// dout where the window's winner is `code`.
  template <class Codes>
  static HWY_INLINE Float of(F32 d, Float dout, Codes winner, int code) {
    const auto mine = hn::Eq(winner, hn::Set(CodeTag<F32>(), code));
    return hn::IfThenElseZero(hn::RebindMask(d, mine), dout);
  }
};

/// What the 2 x 2 pixels in the middle and right of window w00 get of it and of those to the right,
/// below and across. Returns w00's dout.
template <class At, class T>
HWY_INLINE Float gather(F32 d, std::size_t c, At at, const Window<T>& w00, const Window<T>& w01,
                        const Window<T>& w10, const Window<T>& w11, Float (&dnorm)[4]) {
  using W = Window<T>;
  const auto d00 = at.load(d, w00.dout + c), d01 = at.load(d, w01.dout + c),
             d10 = at.load(d, w10.dout + c), d11 = at.load(d, w11.dout + c);
  const auto c00 = at.load_code(d, w00.argmax + c), c01 = at.load_code(d, w01.argmax + c),
             c10 = at.load_code(d, w10.argmax + c), c11 = at.load_code(d, w11.argmax + c);
  dnorm[0] = W::of(d, d00, c00, 4);
  dnorm[1] = hn::Add(W::of(d, d00, c00, 5), W::of(d, d01, c01, 3));
  dnorm[2] = hn::Add(W::of(d, d00, c00, 7), W::of(d, d10, c10, 1));
  dnorm[3] = hn::Add(hn::Add(W::of(d, d00, c00, 8), W::of(d, d01, c01, 6)),
                     hn::Add(W::of(d, d10, c10, 2), W::of(d, d11, c11, 0)));
  return d00;
}

/// Adds the transpose of a row's horizontal upsampling: two neighbouring pixels at once.
template <class At>
HWY_INLINE void add_pair(F32 d, std::size_t c, At, const Tap* taps, std::int64_t pitch,
                         const Float* dsum, float* dup) {
  float* to = dup + taps[0].first * pitch + c;
  auto left = hn::MulAdd(hn::Set(d, taps[0].w0), dsum[0], hn::LoadU(d, to));
  auto right = hn::MulAdd(hn::Set(d, taps[0].w1), dsum[0], hn::LoadU(d, to + pitch));
  if (taps[1].first == taps[0].first) {
    left = hn::MulAdd(hn::Set(d, taps[1].w0), dsum[1], left);
    right = hn::MulAdd(hn::Set(d, taps[1].w1), dsum[1], right);
    hn::StoreU(left, d, to);
    hn::StoreU(right, d, to + pitch);
    return;
  }
  hn::StoreU(left, d, to);
  hn::StoreU(right, d, to + pitch);
  to = dup + taps[1].first * pitch + c;
  left = hn::MulAdd(hn::Set(d, taps[1].w0), dsum[1], hn::LoadU(d, to));
  right = hn::MulAdd(hn::Set(d, taps[1].w1), dsum[1], hn::LoadU(d, to + pitch));
  hn::StoreU(left, d, to);
  hn::StoreU(right, d, to + pitch);
}

/// The 2 x 2 pixels at (2i, 2j) of image b. `dgamma` and `dbeta` are the chunk's.
template <class T>
HWY_INLINE void backward_block(const InteractionMergeBackward<T>& p, const MergeLayout& layout,
                               const BackwardScratch& scratch, std::int64_t b, std::int64_t i,
                               std::int64_t j, float* dgamma, float* dbeta) {
  const F32 d;
  const std::int64_t m = p.shape.grid, s = p.shape.factor, h = m * s, n = p.shape.channels;
  const std::int64_t pitch = layout.pitch, half = layout.half;
  const auto window = [&](std::int64_t wi, std::int64_t wj) {
    if (wi == half || wj == half) {
      return Window<T>{reinterpret_cast<const T*>(scratch.zeros),
                       reinterpret_cast<const std::uint8_t*>(scratch.zeros)};
    }
    const std::int64_t at = ((b * half + wi) * half + wj) * n;
    return Window<T>{p.dout + at, p.argmax + at};
  };
  const Window<T> w00 = window(i, j), w01 = window(i, j + 1), w10 = window(i + 1, j),
                  w11 = window(i + 1, j + 1);
  const Tap taps[2] = {Tap(2 * j, m, s), Tap(2 * j + 1, m, s)};
  Pixel<T> pixels[4];
  float mean[4], rstd[4];
  std::int64_t at_pixel[4];
  for (int k = 0; k < 4; ++k) {
    at_pixel[k] = (b * h + 2 * i + k / 2) * h + 2 * j + k % 2;
    pixels[k] = make_pixel(p.local + at_pixel[k] * n, scratch.up + k / 2 * layout.grid_row, pitch,
                           taps[k % 2]);
    mean[k] = p.mean[at_pixel[k]];
    rstd[k] = p.rstd[at_pixel[k]];
  }

  const std::int64_t ahead = prefetch_distance(h, n, 2 * i, j) * n;
  Float sum_g[4], sum_gx[4];
  for (int k = 0; k < 4; ++k) sum_g[k] = sum_gx[k] = hn::Zero(d);
  for_each_vector(d, std::size_t(n), [&](std::size_t c, auto at) {
    Float dnorm[4];
    const auto d00 = gather(d, c, at, w00, w01, w10, w11, dnorm);
    const auto gamma = at.load(d, p.gamma + c);
    auto sum_dgamma = hn::LoadU(d, dgamma + c);
    for (int k = 0; k < 4; ++k) {
      hwy::Prefetch(pixels[k].local + ahead + c);
      hwy::Prefetch(p.dlocal + at_pixel[k] * n + ahead + std::int64_t(c));
      const auto off = hn::Sub(pixels[k].sum(d, c, at), hn::Set(d, mean[k]));
      // Past the end `off` is -mean, but g is 0 there, and nothing else uses those lanes.
      const auto xhat = hn::Mul(off, hn::Set(d, rstd[k]));
      const auto g = hn::Mul(dnorm[k], gamma);
      sum_g[k] = hn::Add(sum_g[k], g);
      sum_gx[k] = hn::MulAdd(g, xhat, sum_gx[k]);
      sum_dgamma = hn::MulAdd(dnorm[k], xhat, sum_dgamma);
      hn::StoreU(g, d, scratch.g + k * pitch + std::int64_t(c));
      hn::StoreU(xhat, d, scratch.xhat + k * pitch + std::int64_t(c));
    }
    hn::StoreU(sum_dgamma, d, dgamma + c);
    hn::StoreU(hn::Add(hn::LoadU(d, dbeta + c), d00), d, dbeta + c);
  });

  Float mean_g[4], mean_gx[4];
  for (int k = 0; k < 4; ++k) {
    mean_g[k] = hn::Set(d, hn::GetLane(hn::SumOfLanes(d, sum_g[k])) / float(n));
    mean_gx[k] = hn::Set(d, hn::GetLane(hn::SumOfLanes(d, sum_gx[k])) / float(n));
  }
  for_each_vector(d, std::size_t(n), [&](std::size_t c, auto at) {
    for (int t = 0; t < 2; ++t) {
      Float dsum[2];
      for (int v = 0; v < 2; ++v) {
        const int k = 2 * t + v;
        const auto g = hn::LoadU(d, scratch.g + k * pitch + std::int64_t(c));
        const auto xhat = hn::LoadU(d, scratch.xhat + k * pitch + std::int64_t(c));
        const auto centred = hn::NegMulAdd(xhat, mean_gx[k], hn::Sub(g, mean_g[k]));
        dsum[v] = hn::Mul(hn::Set(d, rstd[k]), centred);
        at.store(d, dsum[v], p.dlocal + at_pixel[k] * n + std::int64_t(c));
      }
      add_pair(d, c, at, taps, pitch, dsum, scratch.dup + t * layout.grid_row);
    }
  });
}

template <class T>
HWY_INLINE void backward_chunk(const InteractionMergeBackward<T>& p, Workspace own,
                               std::int64_t chunk, float* sums) {
  const F32 d;
  const MergeLayout layout(p.shape);
  const MergeChunks chunks(p.shape);
  const BackwardScratch scratch(layout, own);
  const std::int64_t m = p.shape.grid, s = p.shape.factor, n = p.shape.channels;
  const std::int64_t pitch = layout.pitch, half = layout.half;
  const std::int64_t b = chunk / chunks.bands, band = chunk % chunks.bands;
  float* dgamma = sums + chunks.pixels * pitch;
  float* dbeta = dgamma + pitch;
  std::fill_n(sums, chunks.size, 0.f);
  std::fill_n(scratch.zeros, pitch, 0.f);
  for (std::int64_t i = half * band / chunks.bands; i < half * (band + 1) / chunks.bands; ++i) {
    const Tap rows[2] = {Tap(2 * i, m, s), Tap(2 * i + 1, m, s)};
    for (std::int64_t t = 0; t < 2; ++t) {
      upsample_row(p.glob + b * m * m * n, m, n, pitch, rows[t], scratch.up + t * layout.grid_row);
    }
    std::fill_n(scratch.dup, 2 * layout.grid_row, 0.f);
    for (std::int64_t j = 0; j < half; ++j) {
      backward_block(p, layout, scratch, b, i, j, dgamma, dbeta);
    }
    for (std::int64_t t = 0; t < 2; ++t) {
      const float* dup = scratch.dup + t * layout.grid_row;
      for (std::int64_t y = 0; y < 2 && rows[t].first + y < m; ++y) {
        const auto w = hn::Set(d, y == 0 ? rows[t].w0 : rows[t].w1);
        float* to = sums + (rows[t].first + y) * m * pitch;
        for (std::int64_t x = 0; x < m * pitch; x += std::int64_t(hn::Lanes(d))) {
          hn::StoreU(hn::MulAdd(w, hn::LoadU(d, dup + x), hn::LoadU(d, to + x)), d, to + x);
        }
      }
    }
  }
}

/// Pixels begin .. end - 1 of dglob, from the sums of their image's bands.
template <class T>
HWY_INLINE void reduce_dglob(const InteractionMergeBackward<T>& p, const float* sums,
                             std::int64_t begin, std::int64_t end) {
  const F32 d;
  const MergeChunks chunks(p.shape);
  for (std::int64_t x = begin; x < end; ++x) {
    const std::int64_t b = x / chunks.pixels, pixel = x % chunks.pixels;
    const float* from = sums + b * chunks.bands * chunks.size + pixel * chunks.pitch;
    T* to = p.dglob + x * p.shape.channels;
    for_each_vector(d, std::size_t(p.shape.channels), [&](std::size_t c, auto at) {
      auto sum = hn::LoadU(d, from + c);
      for (std::int64_t band = 1; band < chunks.bands; ++band) {
        sum = hn::Add(sum, hn::LoadU(d, from + band * chunks.size + std::int64_t(c)));
      }
      at.store(d, sum, to + c);
    });
  }
}

}  // namespace

#define HH_MERGE(suffix, T)                                                                        \
  void forward_##suffix(const InteractionMergeForward<T>& p, Workspace scratch,                    \
                        std::int64_t begin, std::int64_t end) {                                    \
    if (p.argmax != nullptr) return forward_rows<true>(p, scratch, begin, end);                    \
    forward_rows<false>(p, scratch, begin, end);                                                   \
  }                                                                                                \
  void backward_##suffix(const InteractionMergeBackward<T>& p, Workspace scratch,                  \
                         std::int64_t chunk, float* sums) {                                        \
    backward_chunk(p, scratch, chunk, sums);                                                       \
  }                                                                                                \
  void dglob_##suffix(const InteractionMergeBackward<T>& p, const float* sums, std::int64_t begin, \
                      std::int64_t end) {                                                          \
    reduce_dglob(p, sums, begin, end);                                                             \
  }
HH_MERGE(f32, float)
HH_MERGE(bf16, bf16)
#undef HH_MERGE

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::cpu {
namespace {

HWY_EXPORT(forward_f32);
HWY_EXPORT(forward_bf16);
HWY_EXPORT(backward_f32);
HWY_EXPORT(backward_bf16);
HWY_EXPORT(dglob_f32);
HWY_EXPORT(dglob_bf16);

/// Threads, for `items` of work, each with its own scratch.
std::int64_t workers_for(std::int64_t items) {
  return std::min<std::int64_t>(items, num_threads());
}

template <class Scratch>
std::size_t scratch_bytes(const InteractionMergeShape& s) {
  return Scratch(MergeLayout(s), Workspace(nullptr)).bytes;
}

std::int64_t window_rows(const InteractionMergeShape& s) {
  return std::int64_t{s.images} * (s.side() / 2);
}

}  // namespace

template <class T>
void run(const InteractionMergeForward<T>& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  const std::int64_t rows = window_rows(p.shape);
  // A few bands of rows for each thread; neighbours in a band share what is made of a row.
  const std::int64_t bands = std::min<std::int64_t>(rows, 4 * num_threads());
  const std::size_t each = scratch_bytes<ForwardScratch>(p.shape);
  parallel_items(bands, [&](int worker, std::int64_t i) {
    const Workspace scratch = Workspace::piece(p.workspace, worker, each);
    const std::int64_t begin = rows * i / bands, end = rows * (i + 1) / bands;
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(forward_f32)(p, scratch, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(forward_bf16)(p, scratch, begin, end);
    }
  });
}

template <class T>
void run(const InteractionMergeBackward<T>& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  if (p.shape.images == 0) return;
  const MergeChunks chunks(p.shape);
  const std::size_t each = scratch_bytes<BackwardScratch>(p.shape);
  Workspace workspace(p.workspace);
  float* const sums = workspace.take<float>(chunks.count * chunks.size);
  parallel_items(chunks.count, [&](int worker, std::int64_t k) {
    const Workspace scratch = Workspace::piece(workspace.rest(), worker, each);
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(backward_f32)(p, scratch, k, sums + k * chunks.size);
    } else {
      HWY_DYNAMIC_DISPATCH(backward_bf16)(p, scratch, k, sums + k * chunks.size);
    }
  });
  constexpr std::int64_t kGrain = 16384;  // additions per thread; a guess
  const std::int64_t pixels = p.shape.images * chunks.pixels;
  parallel_for(pixels, std::max<std::int64_t>(1, kGrain / (chunks.bands * chunks.channels)),
               [&](std::int64_t begin, std::int64_t end) {
                 if constexpr (std::is_same_v<T, float>) {
                   HWY_DYNAMIC_DISPATCH(dglob_f32)(p, sums, begin, end);
                 } else {
                   HWY_DYNAMIC_DISPATCH(dglob_bf16)(p, sums, begin, end);
                 }
               });
  parallel_for(chunks.channels, std::max<std::int64_t>(64, kGrain / chunks.count),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t k = 0; k < chunks.count; ++k) {
                   const float* dgamma = sums + k * chunks.size + chunks.pixels * chunks.pitch;
                   const float* dbeta = dgamma + chunks.pitch;
                   for (std::int64_t c = begin; c < end; ++c) p.dgamma[c] += dgamma[c];
                   for (std::int64_t c = begin; c < end; ++c) p.dbeta[c] += dbeta[c];
                 }
               });
}

template <class T>
std::size_t workspace_bytes(const InteractionMergeForward<T>& p) {
  const std::int64_t workers = workers_for(window_rows(p.shape));
  return std::size_t(workers) * scratch_bytes<ForwardScratch>(p.shape);
}

template <class T>
std::size_t workspace_bytes(const InteractionMergeBackward<T>& p) {
  const MergeChunks chunks(p.shape);
  const std::int64_t workers = workers_for(chunks.count);
  return Workspace::padded(std::size_t(chunks.count * chunks.size) * sizeof(float)) +
         std::size_t(workers) * scratch_bytes<BackwardScratch>(p.shape);
}

template void run(const InteractionMergeForward<float>&);
template void run(const InteractionMergeForward<bf16>&);
template void run(const InteractionMergeBackward<float>&);
template void run(const InteractionMergeBackward<bf16>&);
template std::size_t workspace_bytes(const InteractionMergeForward<float>&);
template std::size_t workspace_bytes(const InteractionMergeForward<bf16>&);
template std::size_t workspace_bytes(const InteractionMergeBackward<float>&);
template std::size_t workspace_bytes(const InteractionMergeBackward<bf16>&);

}  // namespace hh::cpu
#endif
