// SPDX-License-Identifier: Apache-2.0
// Products  Forward in float32 by our own (gemm/wide_product.h), which adds the bias. Others by oneDNN: its
//           sgemm, its matmul primitive where bf16 is native.
// Weights   dw = dy^T x sums over the rows. Blocks of rows are shared out to threads with a dw
//           each, and dbias is summed from the block that the product is about to read: dy comes
//           from memory once. A narrow x goes through product() of small_product-inl.h, which reads both
//           operands where they lie; oneDNN transposes and packs them first, which costs as much as a short
//           product. When a dw for each thread would cost more than all that, one product takes its
//           place, in pieces of dw.
// bf16      Native where that gains, or else converted to float32 in blocks of rows.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/linear_cpu.cpp"
#include <hwy/foreach_target.h>
// clang-format: foreach_target.h must come first.
#include <hwy/highway.h>

#include "kernels/core/check_workspace.h"
#include "kernels/core/simd-inl.h"
#include "kernels/gemm/rows.h"
#include "kernels/gemm/small_product-inl.h"
#include "kernels/linear/linear.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {

/// dw[o,i] += sum_r dy[r,o] x[r,i]. `in` is a multiple of 32.
void outer_products(std::int64_t rows, const float* dy, std::int64_t out, const float* x,
                    std::int64_t in, float* dw) {
  constexpr std::size_t kAhead = 16;  // docs/decisions/gemm.md
  const hn::ScalableTag<float> d;
  product<Left::kRowsTogether, kAhead>(d, {.rows = std::size_t(out),
                                           .depth = std::size_t(rows),
                                           .vectors = std::size_t(in) / hn::MaxLanes(d),
                                           .a = dy,
                                           .a_stride = std::size_t(out),
                                           .b = x,
                                           .b_pitch = std::size_t(in),
                                           .c = dw,
                                           .c_pitch = std::size_t(in),
                                           .add = true});
}

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>

#include "kernels/core/parallel.h"
#include "kernels/core/workspace.h"
#include "kernels/gemm/instructions.h"
#include "kernels/gemm/onednn_product.h"
#include "kernels/gemm/wide_product.h"

namespace hh::cpu {

HWY_EXPORT(outer_products);

namespace {

using onednn::Matmul;
using onednn::sgemm;

Matmul::Shape shape_of(const LinearForward<bf16>& p) {
  const auto t = onednn::type_of<bf16>();
  return {t, t, false, true, p.rows, p.out, p.in, p.bias != nullptr, false};
}
Matmul::Shape shape_of(const LinearBackwardInput<bf16>& p) {
  const auto t = onednn::type_of<bf16>();
  return {t, t, false, false, p.rows, p.in, p.out, false, p.accumulate};
}
Matmul::Shape shape_of(const LinearBackwardWeight<bf16>& p) {
  return {onednn::type_of<bf16>(),
          onednn::type_of<float>(),
          true,
          false,
          p.out,
          p.in,
          p.rows,
          false,
          true};
}

/// bf16 converted to float32: rows at a time. oneDNN packs the weights again for each block, which a
/// few hundred rows make up for.
template <class Args>
std::int64_t block_rows(const Args& p) {
  constexpr std::int64_t kFloats = 1 << 21;
  return std::min(p.rows, std::max<std::int64_t>(64, kFloats / (p.in + p.out)));
}

/// Body(first row, rows, float32 copy of x, float32 copy of y) for block after block, with scratch.
template <class Args, class Body>
void for_blocks(const Args& p, float* scratch, Body body) {
  const std::int64_t block = block_rows(p);
  for (std::int64_t r = 0; r < p.rows; r += block) {
    body(r, std::min(block, p.rows - r), scratch, scratch + block * p.in);
  }
}
template <class Args>
std::size_t block_bytes(const Args& p) {
  return std::size_t(block_rows(p) * (p.in + p.out)) * sizeof(float);
}
template <class Args>
std::size_t weight_bytes(const Args& p) {
  return std::size_t(p.in) * std::size_t(p.out) * sizeof(float);
}

/// How backward weight shares out its rows: `groups` of `chunks` of `chunk_rows` rows, a multiple
/// of kBlockRows. Each group adds to a dw of its own, the first one's being the result.
struct Split {
  template <class T>
  explicit Split(const LinearBackwardWeight<T>& p) {
    // Our own kernel's strips of a wider x don't stay in the first-level cache.
    own_kernel = p.in <= 64 && p.in % 32 == 0;
    // For oneDNN half a MiB of x and dy, but not fewer than 256 rows: it packs them first.
    const std::int64_t rows =
        own_kernel ? kBlockRows : std::clamp<std::int64_t>((1 << 17) / (p.in + p.out), 256, 2048);
    chunk_rows = row_blocks(rows) * kBlockRows;
    chunks = (p.rows + chunk_rows - 1) / chunk_rows;
    // As many groups as are cheap, up to a few for each thread; a copy of dw for each further one is
    // cleared, added to and read again.
    const std::int64_t threads = std::max(1, num_threads());
    const std::int64_t weights = std::int64_t{p.in} * p.out;
    const auto cheap = [&](std::int64_t n) {
      return chunks >= 2 * n && 4 * std::max<std::int64_t>(1, n - 1) * weights <=
                                    p.rows * (std::int64_t{p.in} + p.out);
    };
    by_chunks = cheap(threads);
    if (!by_chunks) return;
    groups = threads;
    while (threads > 1 && groups < kGroupsOfThread * threads && cheap(2 * groups)) groups *= 2;
  }
  static constexpr std::int64_t kGroupsOfThread = 4;
  std::int64_t chunk_rows = kBlockRows, chunks = 1, groups = 1;
  bool own_kernel = false, by_chunks = false;
};

/// One chunk: dw += and the sums of its blocks, unless `sums` is null.
void add_chunk(const LinearBackwardWeight<float>& p, bool own_kernel, std::int64_t r,
               std::int64_t rows, float* dw, float* sums) {
  const float* const dy = p.dy + r * p.out;
  const float* const x = p.x + r * p.in;
  for (std::int64_t b = 0; sums != nullptr && b < rows; b += kBlockRows) {
    column_sums(dy + b * p.out, std::min(kBlockRows, rows - b), p.out,
                sums + b / kBlockRows * p.out);
  }
  if (own_kernel) return HWY_DYNAMIC_DISPATCH(outer_products)(rows, dy, p.out, x, p.in, dw);
  onednn::sgemm_here(true, false, p.out, p.in, rows, dy, x, 1, dw);
}

void backward_weight(const LinearBackwardWeight<float>& p) {
  const Split split(p);
  auto* const block_sums = static_cast<float*>(p.workspace);
  if (!split.by_chunks) {
    if (p.dbias != nullptr) add_column_sums(p.dy, p.rows, p.out, block_sums, p.dbias);
    return sgemm(true, false, p.out, p.in, p.rows, p.dy, p.x, 1, p.dweight);
  }
  const std::int64_t blocks = row_blocks(p.rows), weights = std::int64_t{p.in} * p.out;
  float* const partials = block_sums + (p.dbias != nullptr ? blocks * p.out : 0);
  parallel_chunks(split.groups, [&](std::int64_t g) {
    float* const dw = g == 0 ? p.dweight : partials + (g - 1) * weights;
    if (g != 0) std::fill_n(dw, weights, 0.f);
    const std::int64_t end = split.chunks * (g + 1) / split.groups;
    for (std::int64_t c = split.chunks * g / split.groups; c < end; ++c) {
      const std::int64_t r = c * split.chunk_rows;
      add_chunk(p, split.own_kernel, r, std::min(split.chunk_rows, p.rows - r), dw,
                p.dbias != nullptr ? block_sums + r / kBlockRows * p.out : nullptr);
    }
  });
  add_partials(partials, split.groups - 1, weights, p.dweight);
  if (p.dbias != nullptr) add_partials(block_sums, blocks, p.out, p.dbias);
}

void backward_weight(const LinearBackwardWeight<bf16>& p) {
  auto* const scratch = static_cast<float*>(p.workspace);
  // The sums of dbias are done with before the product needs the scratch.
  if (p.dbias != nullptr) add_column_sums(p.dy, p.rows, p.out, scratch, p.dbias);
  if (bf16_gains()) {
    return Matmul(shape_of(p)).run(p.dy, p.x, nullptr, p.dweight, p.workspace);
  }
  for_blocks(p, scratch, [&](std::int64_t r, std::int64_t rows, float* x, float* dy) {
    widen(p.x + r * p.in, rows * p.in, x);
    widen(p.dy + r * p.out, rows * p.out, dy);
    sgemm(true, false, p.out, p.in, rows, dy, x, 1, p.dweight);
  });
}

WideProduct product_of(const LinearForward<float>& p) {
  return {.m = p.rows,
          .n = p.out,
          .k = p.in,
          .a = p.x,
          .b = p.weight,
          .packed = static_cast<const float*>(p.packed),
          .bias = p.bias,
          .c = p.y};
}
void forward(const LinearForward<float>& p) { run(product_of(p), p.workspace); }

/// Its scratch where it is converted to float32.
struct ConvertedForward {
  ConvertedForward(const LinearForward<bf16>& p, void* memory) {
    Workspace w(memory);
    weight = w.take<float>(std::int64_t{p.in} * p.out);
    packed = w.take<float>(std::int64_t(packed_factor_bytes(p.out, p.in) / sizeof(float)));
    bias = w.take<float>(p.out);
    blocks = w.take<float>(std::int64_t(block_bytes(p) / sizeof(float)));
    bytes = w.bytes();
  }
  float *weight, *packed, *bias, *blocks;
  std::size_t bytes;
};

void forward(const LinearForward<bf16>& p) {
  if (bf16_gains()) {
    return Matmul(shape_of(p)).run(p.x, p.weight, p.bias, p.y, p.workspace);
  }
  ConvertedForward at(p, p.workspace);
  widen(p.weight, std::int64_t{p.in} * p.out, at.weight);
  pack_factor(at.weight, p.out, p.in, at.packed);
  if (p.bias != nullptr) widen(p.bias, p.out, at.bias);
  for_blocks(p, at.blocks, [&](std::int64_t r, std::int64_t rows, float* x, float* y) {
    widen(p.x + r * p.in, rows * p.in, x);
    run({.m = rows,
         .n = p.out,
         .k = p.in,
         .a = x,
         .packed = at.packed,
         .bias = p.bias == nullptr ? nullptr : at.bias,
         .c = y},
        nullptr);
    narrow(y, rows * p.out, p.y + r * p.out);
  });
}

void backward_input(const LinearBackwardInput<float>& p) {
  sgemm(false, false, p.rows, p.in, p.out, p.dy, p.weight, p.accumulate ? 1 : 0, p.dx);
}

void backward_input(const LinearBackwardInput<bf16>& p) {
  if (bf16_gains()) {
    return Matmul(shape_of(p)).run(p.dy, p.weight, nullptr, p.dx, p.workspace);
  }
  auto* const w = static_cast<float*>(p.workspace);
  const std::int64_t weights = std::int64_t{p.in} * p.out;
  widen(p.weight, weights, w);
  for_blocks(p, w + weights, [&](std::int64_t r, std::int64_t rows, float* dx, float* dy) {
    widen(p.dy + r * p.out, rows * p.out, dy);
    if (p.accumulate) widen(p.dx + r * p.in, rows * p.in, dx);
    sgemm(false, false, rows, p.in, p.out, dy, w, p.accumulate ? 1 : 0, dx);
    narrow(dx, rows * p.in, p.dx + r * p.in);
  });
}

}  // namespace

template <class T>
void run(const LinearForward<T>& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  if (p.rows != 0) forward(p);
}
template <class T>
void run(const LinearBackwardInput<T>& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  if (p.rows != 0) backward_input(p);
}
template <class T>
void run(const LinearBackwardWeight<T>& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  if (p.rows != 0) backward_weight(p);
}

void run(const LinearPack& p) {
  p.validate();
  pack_factor(p.weight, p.out, p.in, static_cast<float*>(p.packed));
}
std::size_t linear_packed_bytes(int in, int out) { return packed_factor_bytes(out, in); }

template <class T>
std::size_t workspace_bytes(const LinearForward<T>& p) {
  p.validate();
  if (p.rows == 0) return 0;
  if constexpr (std::is_same_v<T, float>) {
    return workspace_bytes(product_of(p));
  } else {
    if (bf16_gains()) return Matmul(shape_of(p)).scratch_bytes();
    return ConvertedForward(p, nullptr).bytes;
  }
}

template <class T>
std::size_t workspace_bytes(const LinearBackwardInput<T>& p) {
  p.validate();
  if constexpr (std::is_same_v<T, float>) {
    return 0;
  } else {
    if (p.rows == 0) return 0;
    if (bf16_gains()) return Matmul(shape_of(p)).scratch_bytes();
    return weight_bytes(p) + block_bytes(p);
  }
}

template <class T>
std::size_t workspace_bytes(const LinearBackwardWeight<T>& p) {
  p.validate();
  if (p.rows == 0) return 0;
  const std::size_t sums =
      p.dbias == nullptr ? 0 : std::size_t(row_blocks(p.rows) * p.out) * sizeof(float);
  if constexpr (std::is_same_v<T, float>) {
    return sums + std::size_t(Split(p).groups - 1) * weight_bytes(p);
  } else {
    return std::max(sums, bf16_gains() ? Matmul(shape_of(p)).scratch_bytes() : block_bytes(p));
  }
}

#define HH_INSTANTIATE(T)                                              \
  template void run(const LinearForward<T>&);                          \
  template void run(const LinearBackwardInput<T>&);                    \
  template void run(const LinearBackwardWeight<T>&);                   \
  template std::size_t workspace_bytes(const LinearForward<T>&);       \
  template std::size_t workspace_bytes(const LinearBackwardInput<T>&); \
  template std::size_t workspace_bytes(const LinearBackwardWeight<T>&);
HH_INSTANTIATE(float)
HH_INSTANTIATE(bf16)
#undef HH_INSTANTIATE

}  // namespace hh::cpu
#endif  // HWY_ONCE
