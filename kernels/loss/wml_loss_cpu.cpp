// SPDX-License-Identifier: Apache-2.0
// Mapping   Lanes are images. The codes of up to 64 images lie transposed, [K][width], and a tile
//           of bank rows is widened to float32 beside them in L1. Two products of one shape follow,
//           theta = U u^T and du^T += U^T g, both C[rows][width] from a broadcast and a vector,
//           with g (one tile) in between. Label sets meet by AND of 32-bit words, one lane each.
// Traffic   The bank's codes are read once. Its labels are read twice: S1 and S0 depend on them
//           alone, and with both known first, one accumulator of du serves both kinds of pair.
// Numerics  float32 terms, float64 sums of the loss from each bank row on. Neither l nor
//           sigmoid - s cancels: with t = s ? -theta : theta, l = max(t, 0) + log1p(e) and
//           |sigmoid - s| = sigmoid(t), where e = exp(-|t|). du is summed in float32 within a chunk
//           of the bank, in float64 across chunks.
// Threads   The bank is cut into at most 32 chunks by its size alone, each with partial results of
//           its own, which are added up in order.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/core/check_workspace.h"
#include "kernels/core/parallel.h"
#include "kernels/core/workspace.h"
#include "kernels/loss/wml_loss.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/loss/wml_loss_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/core/math-inl.h"
#include "kernels/core/simd-inl.h"
#include "kernels/gemm/small_product-inl.h"

#ifndef HH_KERNELS_LOSS_WML_LOSS_CPU_ONCE_
#define HH_KERNELS_LOSS_WML_LOSS_CPU_ONCE_
namespace hh::cpu {
namespace {

constexpr int kMaxTileRows = 48;          // or 24 or 12: whole blocks of rows of product()
constexpr int kMaxTileFloats = 48 * 132;  // 25 KB of bank
constexpr int kMaxWidth = 64;
constexpr std::int64_t kMaxChunks = 32;

enum class Stored { kF32, kF16, kBf16 };
constexpr Stored stored_as(const float*) { return Stored::kF32; }
constexpr Stored stored_as(const f16*) { return Stored::kF16; }
constexpr Stored stored_as(const bf16*) { return Stored::kBf16; }

/// How the sizes are cut up. The same for every instruction set and number of threads.
struct Plan {
  int width;   // images of a block: 16, 32 or 64
  int blocks;  // blocks of images
  int tile_rows;
  std::int64_t chunk_rows, chunks;

  Plan(int images, std::int64_t bank_rows, int bits)
      : width(images <= 16   ? 16
              : images <= 32 ? 32
                             : kMaxWidth),
        blocks((images + width - 1) / width),
        tile_rows(kMaxTileRows) {
    while (tile_rows * bits > kMaxTileFloats) tile_rows /= 2;
    const std::int64_t tiles = (bank_rows + tile_rows - 1) / tile_rows;
    chunk_rows = (tiles + kMaxChunks - 1) / kMaxChunks * tile_rows;
    chunks = (bank_rows + chunk_rows - 1) / chunk_rows;
  }
};

/// Everything the target code needs, untyped.
struct Job {
  Plan plan;
  const void* bank;
  Stored stored;
  const std::uint64_t* bank_labels;
  std::int64_t bank_rows;
  int images, bits, label_words;
  float alpha;
  bool gradient;
  double gradient_factor;
  float similar_weight = 0, dissimilar_weight = 0;  // -1/S1 and 1/S0
  // In the workspace:
  float* codes;           // [blocks][K][width]           alpha * u; 0 for images past the last
  std::uint32_t* labels;  // [blocks][2 * words][width]   no classes for images past the last
  std::int64_t* similar;  // [chunks]                     pairs
  double* sums;           // [chunks][2]                  losses of similar and dissimilar pairs
  float* partial;         // [chunks][blocks][K][width]   of du / alpha
};

}  // namespace
}  // namespace hh::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

using F32 = hn::ScalableTag<float>;
using U32 = hn::Rebind<std::uint32_t, F32>;
using F64 = hn::ScalableTag<double>;
using VF = hn::Vec<F32>;
using VU = hn::Vec<U32>;
constexpr int kLanes = int(hn::MaxLanes(F32()));

HWY_INLINE VF widen(F32 d, const f16* p) {
  const hn::Rebind<hwy::float16_t, F32> d16;
  const hn::Rebind<std::uint16_t, F32> bits;
  return hn::PromoteTo(d, hn::BitCast(d16, hn::LoadU(bits, &p->bits)));
}
HWY_INLINE VF widen(F32 d, const float* p) { return load_f32(d, p); }
HWY_INLINE VF widen(F32 d, const bf16* p) { return load_f32(d, p); }

template <class TB>
void widen_from(const void* bank, std::int64_t first, std::int64_t n, float* to) {
  const F32 d;
  const TB* const from = static_cast<const TB*>(bank) + first;
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) hn::StoreU(widen(d, from + i), d, to + i);
  for (; i < n; ++i) to[i] = to_float(from[i]);
}

/// Bank rows first .. first + rows as float32 [rows][K].
void widen_tile(const Job& job, std::int64_t first, int rows, float* tile) {
  const std::int64_t from = first * job.bits, n = std::int64_t{rows} * job.bits;
  switch (job.stored) {
    case Stored::kF32:
      return widen_from<float>(job.bank, from, n, tile);
    case Stored::kF16:
      return widen_from<f16>(job.bank, from, n, tile);
    case Stored::kBf16:
      return widen_from<bf16>(job.bank, from, n, tile);
  }
}

/// any[v] != 0 in the lanes of images that share a class with a bank row of labels `row`.
template <int kVectors>
HWY_INLINE void shared_classes(const Job& job, const std::uint32_t* labels, int width,
                               const std::uint64_t* row, VU* any) {
  constexpr int kGroup = 16;
  const U32 d;
  for (int v = 0; v < kVectors; ++v) any[v] = hn::Zero(d);
  for (int first = 0; first < job.label_words; first += kGroup) {
    // Most words of most rows are empty. The others are listed without a branch per word, whose
    // outcome would be as random as the classes.
    std::uint32_t bits[2 * kGroup];
    int word[2 * kGroup], n = 0;
    const int last = std::min(first + kGroup, job.label_words);
    for (int w = first; w < last; ++w) {
      for (const int half : {0, 1}) {
        bits[n] = std::uint32_t(row[w] >> (32 * half));
        word[n] = 2 * w + half;
        n += bits[n] != 0;
      }
    }
    for (int i = 0; i < n; ++i) {
      const VU classes = hn::Set(d, bits[i]);
      const std::uint32_t* images = labels + std::ptrdiff_t(word[i]) * width;
      for (int v = 0; v < kVectors; ++v) {
        any[v] = hn::Or(any[v], hn::And(classes, hn::LoadU(d, images + v * kLanes)));
      }
    }
  }
}

template <int kWidth>
void count_chunk(const Job& job, std::int64_t chunk) {
  constexpr int kVectors = kWidth / kLanes;
  const U32 d;
  const std::int64_t begin = chunk * job.plan.chunk_rows;
  const std::int64_t end = std::min(begin + job.plan.chunk_rows, job.bank_rows);
  std::int64_t similar = 0;
  for (std::int64_t j = begin; j < end; ++j) {
    for (int block = 0; block < job.plan.blocks; ++block) {
      VU any[kVectors];
      shared_classes<kVectors>(job,
                               job.labels + std::ptrdiff_t(block) * 2 * job.label_words * kWidth,
                               kWidth, job.bank_labels + j * job.label_words, any);
      for (int v = 0; v < kVectors; ++v) {
        similar += std::int64_t(hn::CountTrue(d, hn::Ne(any[v], hn::Zero(d))));
      }
    }
  }
  job.similar[chunk] = similar;
}

/// log(1 + e) for 0 <= e <= 1, within 2 ulp: e times a polynomial in e - 1/2 for log(1 + e) / e,
/// interpolated at Chebyshev points (5e-9). Centred, its coefficients fall off and don't cancel.
HWY_INLINE VF log1p_of_fraction(F32 d, VF e) {
  const VF x = hn::Sub(e, hn::Set(d, 0.5f));
  VF y = hn::Set(d, -3.176057018e-3f);
  y = hn::MulAdd(y, x, hn::Set(d, 5.250270678e-3f));
  y = hn::MulAdd(y, x, hn::Set(d, -6.788016952e-3f));
  y = hn::MulAdd(y, x, hn::Set(d, 1.157768518e-2f));
  y = hn::MulAdd(y, x, hn::Set(d, -2.056318243e-2f));
  y = hn::MulAdd(y, x, hn::Set(d, 3.663523417e-2f));
  y = hn::MulAdd(y, x, hn::Set(d, -6.768818965e-2f));
  y = hn::MulAdd(y, x, hn::Set(d, 1.326090158e-1f));
  y = hn::MulAdd(y, x, hn::Set(d, -2.885271014e-1f));
  y = hn::MulAdd(y, x, hn::Set(d, 8.109302199e-1f));
  return hn::Mul(e, y);
}

HWY_INLINE double sum_f64(VF v) {
#if HWY_TARGET == HWY_SCALAR
  return double(hn::GetLane(v));
#else
  const F64 d64;
  const auto low = hn::PromoteTo(d64, hn::LowerHalf(v));
  const auto high = hn::PromoteTo(d64, hn::UpperHalf(hn::Half<F32>(), v));
  return hn::GetLane(hn::SumOfLanes(d64, hn::Add(low, high)));
#endif
}

struct Losses {
  double similar = 0, dissimilar = 0;
};

/// Turns one bank row's thetas into its terms of the gradient, in place, and adds up its losses.
/// `inside` is nonzero in the lanes of images that exist.
template <int kWidth, bool kGradient>
HWY_INLINE void pair_row(const Job& job, const std::uint32_t* labels, const std::uint64_t* row,
                         const std::uint32_t* inside, float* theta_row, Losses& losses) {
  constexpr int kVectors = kWidth / kLanes;
  const F32 d;
  const U32 bits;
  const VF zero = hn::Zero(d), one = hn::Set(d, 1.0f);
  VU any[kVectors];
  shared_classes<kVectors>(job, labels, kWidth, row, any);
  VF similar_sum = zero, dissimilar_sum = zero;
  for (int v = 0; v < kVectors; ++v) {
    const VF theta = hn::LoadU(d, theta_row + v * kLanes);
    const auto similar = hn::RebindMask(d, hn::Ne(any[v], hn::Zero(bits)));
    const auto exists =
        hn::RebindMask(d, hn::Ne(hn::LoadU(bits, inside + v * kLanes), hn::Zero(bits)));
    const VF t = hn::IfThenElse(similar, hn::Neg(theta), theta);
    const VF e = exp2_normal(d, hn::Mul(hn::Abs(theta), hn::Set(d, -0x1.715476p0f)));
    const auto negative = hn::Lt(t, zero);
    const VF l = hn::Add(hn::IfThenElse(negative, zero, t), log1p_of_fraction(d, e));
    similar_sum = hn::Add(similar_sum, hn::IfThenElseZero(similar, l));
    dissimilar_sum = hn::Add(dissimilar_sum, hn::IfThenElseZero(hn::AndNot(similar, exists), l));
    if constexpr (kGradient) {
      VF sigmoid = hn::Div(hn::IfThenElse(negative, e, one), hn::Add(one, e));
      const VF at_zero = hn::IfThenElse(similar, zero, one);
      sigmoid = hn::IfThenElse(hn::Eq(theta, zero), at_zero, sigmoid);
      const VF weight = hn::IfThenElse(similar, hn::Set(d, job.similar_weight),
                                       hn::Set(d, job.dissimilar_weight));
      hn::StoreU(hn::Mul(weight, sigmoid), d, theta_row + v * kLanes);
    }
  }
  losses.similar += sum_f64(similar_sum);
  losses.dissimilar += sum_f64(dissimilar_sum);
}

template <int kWidth, bool kGradient>
void loss_chunk(const Job& job, std::int64_t chunk) {
  const Plan& plan = job.plan;
  HWY_ALIGN float tile[kMaxTileFloats];
  HWY_ALIGN float pairs[kMaxTileRows * kWidth];  // theta, then g
  HWY_ALIGN std::uint32_t inside[kWidth];
  const std::ptrdiff_t block_codes = std::ptrdiff_t(job.bits) * kWidth;
  const std::ptrdiff_t block_labels = std::ptrdiff_t(2) * job.label_words * kWidth;
  float* partial = nullptr;
  if constexpr (kGradient) {
    partial = job.partial + chunk * plan.blocks * block_codes;
    std::fill(partial, partial + plan.blocks * block_codes, 0.0f);
  }
  const std::int64_t begin = chunk * plan.chunk_rows;
  const std::int64_t end = std::min(begin + plan.chunk_rows, job.bank_rows);
  Losses losses;
  for (std::int64_t first = begin; first < end; first += plan.tile_rows) {
    const int rows = int(std::min<std::int64_t>(plan.tile_rows, end - first));
    widen_tile(job, first, rows, tile);
    for (int block = 0; block < plan.blocks; ++block) {
      product<Left::kRowsApart>(F32(), {.rows = std::size_t(rows),
                                        .depth = std::size_t(job.bits),
                                        .vectors = kWidth / kLanes,
                                        .a = tile,
                                        .a_stride = std::size_t(job.bits),
                                        .b = job.codes + block * block_codes,
                                        .b_pitch = kWidth,
                                        .c = pairs,
                                        .c_pitch = kWidth});
      for (int i = 0; i < kWidth; ++i) inside[i] = block * kWidth + i < job.images;
      for (int r = 0; r < rows; ++r) {
        pair_row<kWidth, kGradient>(job, job.labels + block * block_labels,
                                    job.bank_labels + (first + r) * job.label_words, inside,
                                    pairs + r * kWidth, losses);
      }
      if constexpr (kGradient) {
        product<Left::kRowsTogether>(F32(), {.rows = std::size_t(job.bits),
                                             .depth = std::size_t(rows),
                                             .vectors = kWidth / kLanes,
                                             .a = tile,
                                             .a_stride = std::size_t(job.bits),
                                             .b = pairs,
                                             .b_pitch = kWidth,
                                             .c = partial + block * block_codes,
                                             .c_pitch = kWidth,
                                             .add = true});
      }
    }
  }
  job.sums[2 * chunk] = losses.similar;
  job.sums[2 * chunk + 1] = losses.dissimilar;
}

void count(const Job& job, std::int64_t chunk) {
  switch (job.plan.width) {
    case 16:
      return count_chunk<16>(job, chunk);
    case 32:
      return count_chunk<32>(job, chunk);
    default:
      return count_chunk<kMaxWidth>(job, chunk);
  }
}

template <bool kGradient>
void loss_of_width(const Job& job, std::int64_t chunk) {
  switch (job.plan.width) {
    case 16:
      return loss_chunk<16, kGradient>(job, chunk);
    case 32:
      return loss_chunk<32, kGradient>(job, chunk);
    default:
      return loss_chunk<kMaxWidth, kGradient>(job, chunk);
  }
}

void loss(const Job& job, std::int64_t chunk) {
  return job.gradient ? loss_of_width<true>(job, chunk) : loss_of_width<false>(job, chunk);
}

/// du[i, k] = factor * sum over chunks of the partial results, for one k.
void add_up(const Job& job, int k, float* du) {
  const Plan& plan = job.plan;
  const F64 d;
  const hn::Rebind<float, F64> d32;
  constexpr int kLanes64 = int(hn::MaxLanes(F64()));
  const std::ptrdiff_t chunk_step = std::ptrdiff_t(plan.blocks) * job.bits * plan.width;
  for (int i = 0; i < job.images; i += kLanes64) {
    const int block = i / plan.width, lane = i % plan.width;
    const float* from = job.partial + (std::ptrdiff_t(block) * job.bits + k) * plan.width + lane;
    auto sum = hn::Zero(d);
    for (std::int64_t c = 0; c < plan.chunks; ++c, from += chunk_step) {
      sum = hn::Add(sum, hn::PromoteTo(d, hn::LoadU(d32, from)));
    }
    HWY_ALIGN double sums[kLanes64];
    hn::Store(sum, d, sums);
    for (int v = 0; v < kLanes64 && i + v < job.images; ++v) {
      du[std::ptrdiff_t(i + v) * job.bits + k] = float(job.gradient_factor * sums[v]);
    }
  }
}

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::cpu {
namespace {

HWY_EXPORT(count);
HWY_EXPORT(loss);
HWY_EXPORT(add_up);

template <class TB>
Job make_job(const WmlLoss<TB>& p, Workspace& workspace) {
  const Plan plan(p.images, p.bank_rows, p.bits);
  const std::int64_t columns = std::int64_t{plan.blocks} * plan.width;
  Job job{.plan = plan,
          .bank = p.bank,
          .stored = stored_as(p.bank),
          .bank_labels = p.bank_labels,
          .bank_rows = p.bank_rows,
          .images = p.images,
          .bits = p.bits,
          .label_words = p.label_words,
          .alpha = p.alpha,
          .gradient = p.du != nullptr,
          .gradient_factor =
              double(p.alpha) * (p.gradient_scale != nullptr ? double(*p.gradient_scale) : 1.0)};
  job.codes = workspace.take<float>(columns * p.bits);
  job.labels = workspace.take<std::uint32_t>(columns * 2 * p.label_words);
  job.similar = workspace.take<std::int64_t>(plan.chunks);
  job.sums = workspace.take<double>(plan.chunks * 2);
  job.partial = workspace.take<float>(job.gradient ? plan.chunks * columns * p.bits : 0);
  return job;
}

/// The batch with images in the lanes.
template <class TB>
void transpose_batch(const WmlLoss<TB>& p, const Job& job) {
  const int width = job.plan.width, words = 2 * p.label_words;
  for (int i = 0; i < job.plan.blocks * width; ++i) {
    const bool exists = i < p.images;
    const std::ptrdiff_t block = i / width, lane = i % width;
    float* codes = job.codes + block * p.bits * width + lane;
    for (int k = 0; k < p.bits; ++k) {
      codes[k * width] = exists ? p.alpha * p.u[std::ptrdiff_t(i) * p.bits + k] : 0;
    }
    std::uint32_t* labels = job.labels + block * words * width + lane;
    for (int w = 0; w < words; ++w) {
      const std::uint64_t pair = exists ? p.labels[std::ptrdiff_t(i) * p.label_words + w / 2] : 0;
      labels[std::ptrdiff_t(w) * width] = std::uint32_t(pair >> (32 * (w % 2)));
    }
  }
}

}  // namespace

template <class TB>
void run(const WmlLoss<TB>& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  Workspace workspace(p.workspace);
  Job job = make_job(p, workspace);
  transpose_batch(p, job);
  const std::int64_t chunks = job.plan.chunks;
  parallel_chunks(chunks, [&](std::int64_t c) { HWY_DYNAMIC_DISPATCH(count)(job, c); });
  std::int64_t similar = 0;
  for (std::int64_t c = 0; c < chunks; ++c) similar += job.similar[c];
  const std::int64_t dissimilar = p.images * p.bank_rows - similar;
  if (similar > 0) job.similar_weight = float(-1.0 / double(similar));
  if (dissimilar > 0) job.dissimilar_weight = float(1.0 / double(dissimilar));

  parallel_chunks(chunks, [&](std::int64_t c) { HWY_DYNAMIC_DISPATCH(loss)(job, c); });
  double similar_sum = 0, dissimilar_sum = 0;
  for (std::int64_t c = 0; c < chunks; ++c) {
    similar_sum += job.sums[2 * c];
    dissimilar_sum += job.sums[2 * c + 1];
  }
  p.loss[0] = float((similar > 0 ? similar_sum / double(similar) : 0) +
                    (dissimilar > 0 ? dissimilar_sum / double(dissimilar) : 0));
  p.pairs[0] = similar;
  p.pairs[1] = dissimilar;
  if (p.du == nullptr) return;
  const std::int64_t grain = std::max<std::int64_t>(1, 32768 / (chunks * p.images));
  parallel_for(p.bits, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t k = begin; k < end; ++k) HWY_DYNAMIC_DISPATCH(add_up)(job, int(k), p.du);
  });
}

template <class TB>
std::size_t workspace_bytes(const WmlLoss<TB>& p) {
  p.validate();
  Workspace measure(nullptr);
  make_job(p, measure);
  return measure.bytes();
}

template void run(const WmlLoss<float>&);
template void run(const WmlLoss<f16>&);
template void run(const WmlLoss<bf16>&);
template std::size_t workspace_bytes(const WmlLoss<float>&);
template std::size_t workspace_bytes(const WmlLoss<f16>&);
template std::size_t workspace_bytes(const WmlLoss<bf16>&);

}  // namespace hh::cpu
#endif
