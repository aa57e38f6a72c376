// SPDX-License-Identifier: Apache-2.0
// Blocks    A part of the depth of b is packed into panels as wide as the registers' block, a few at a
//           time, which stay in the second-level cache while all rows of a piece meet them; some rows of
//           a meet panel after panel. a is read where it lies.
// Source    The order of blocks is that of "Anatomy of High-Performance Matrix Multiplication" (Goto and
//           van de Geijn, 2008), with a and b exchanged: here a is the taller.
// Figures   docs/decisions/gemm.md
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/wide_product.cpp"
#include <hwy/foreach_target.h>
// clang-format: foreach_target.h must come first.
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/core/transpose-inl.h"
#include "kernels/gemm/pieces.h"
#include "kernels/gemm/small_product-inl.h"
#include "kernels/gemm/wide_product_blocks.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

constexpr hn::ScalableTag<float> kFloats;
constexpr std::int64_t kLanes = hn::MaxLanes(kFloats);

// What is packed at a time: at most so deep, and so many panels: 768 KiB in AVX-512, 192 in AVX2, whose
// processors have smaller caches.
constexpr std::int64_t kMostDepth = kManyRegisters ? 512 : 256;
constexpr std::int64_t kPanelsAtOnce = 8;
// Rows of a that meet a panel before the next one does.
constexpr std::int64_t kRowsAtOnce = 96;

Panels panels_of(std::int64_t n) { return {n, kLanes, std::int64_t(kMaxVectors)}; }

std::int64_t depth_parts(std::int64_t k) { return (k + kMostDepth - 1) / kMostDepth; }
DepthPart depth_part(std::int64_t k, std::int64_t i) {
  const std::int64_t parts = depth_parts(k), first = k * i / parts;
  return {first, k * (i + 1) / parts - first};
}

/// Passes what is transposed on, and meanwhile has the next rows of b fetched, a line at a time: weights
/// come from memory.
struct FetchNext {
  template <class V>
  HWY_INLINE V operator()(V v, std::size_t, std::size_t) const {
    const std::size_t row = calls % 16, line = calls / 16;
    ++calls;
    if (row < rows) __builtin_prefetch(next + row * pitch + 16 * line);
    return v;
  }
  const float* next;
  std::size_t pitch, rows;
  mutable std::size_t calls = 0;
};

/// to[t * width + x] = b[column + x, first + t], for one panel.
void pack_panel(const float* b, std::int64_t n, std::int64_t k, const DepthPart& part,
                std::int64_t column, std::int64_t width, float* to) {
  const auto pitch = std::size_t(k);
  for (std::int64_t x = 0; x < width; x += kLanes) {
    const std::int64_t rows = std::min(kLanes, n - column - x);
    const std::int64_t after = std::clamp<std::int64_t>(n - column - x - rows, 0, kLanes);
    const float* const from = b + (column + x) * k + part.first;
    transpose<true>(kFloats, from, pitch, std::size_t(rows), std::size_t(part.count), to + x,
                    std::size_t(width), FetchNext{from + rows * k, pitch, std::size_t(after)});
  }
}

/// Some rows of c in one panel's columns.
struct Tile {
  std::int64_t row, rows, column, width;
  const float* packed;
};

void multiply(const WideProduct& p, const DepthPart& part, const Tile& tile) {
  float* const c = p.c + tile.row * p.n + tile.column;
  Product product_of{
      .rows = std::size_t(tile.rows),
      .depth = std::size_t(part.count),
      .vectors = std::size_t(tile.width / kLanes),
      .a = p.a + tile.row * p.k + part.first,
      .a_stride = std::size_t(p.k),
      .b = tile.packed,
      .b_pitch = std::size_t(tile.width),
      .c = c,
      .c_pitch = std::size_t(p.n),
      .add = part.first != 0,
      .lane_start = part.first == 0 && p.bias != nullptr ? p.bias + tile.column : nullptr};
  const std::int64_t valid = std::min(tile.width, p.n - tile.column);
  if (HWY_LIKELY(valid == tile.width)) return product<Left::kRowsApart>(kFloats, product_of);
  // The registers reach past the end of the row: through a copy.
  HWY_ALIGN float copy[kRowsAtOnce * kMaxVectors * kLanes] = {};
  HWY_ALIGN float start[kMaxVectors * kLanes] = {};
  if (product_of.lane_start != nullptr) {
    std::copy_n(product_of.lane_start, valid, start);
    product_of.lane_start = start;
  }
  product_of.c = copy;
  product_of.c_pitch = std::size_t(tile.width);
  for (std::int64_t r = 0; product_of.add && r < tile.rows; ++r) {
    std::copy_n(c + r * p.n, valid, copy + r * tile.width);
  }
  product<Left::kRowsApart>(kFloats, product_of);
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    std::copy_n(copy + r * tile.width, valid, c + r * p.n);
  }
}

/// A piece's rows by panels begin .. end, over one part of the depth. `packed`: the first panel's.
void multiply_panels(const WideProduct& p, const DepthPart& part, const Pieces::Piece& piece,
                     std::int64_t begin, std::int64_t end, const float* packed,
                     const FinishTile* finish) {
  const Panels panels = panels_of(p.n);
  const bool last = part.first + part.count == p.k;
  for (std::int64_t r = 0; r < piece.rows; r += kRowsAtOnce) {
    const std::int64_t row = piece.row + r, rows = std::min(kRowsAtOnce, piece.rows - r);
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t column = panels.column(i);
      const float* const of_panel = packed + part.count * (column - panels.column(begin));
      multiply(p, part, {row, rows, column, panels.width(i), of_panel});
      if (finish == nullptr || !last) continue;
      (*finish)({.c = p.c + row * p.n + column,
                 .pitch = p.n,
                 .row = row,
                 .rows = rows,
                 .column = column,
                 .columns = std::min(panels.width(i), p.n - column)});
    }
  }
}

/// The piece's columns are panels. scratch: scratch_floats(p).
void multiply_piece(const WideProduct& p, const Pieces::Piece& piece, float* scratch,
                    const FinishTile* finish) {
  const Panels panels = panels_of(p.n);
  const std::int64_t last = piece.column + piece.columns;
  for (std::int64_t begin = piece.column; begin < last; begin += kPanelsAtOnce) {
    const std::int64_t end = std::min(begin + kPanelsAtOnce, last);
    for (std::int64_t i = 0; i < depth_parts(p.k); ++i) {
      const DepthPart part = depth_part(p.k, i);
      const float* packed = scratch;
      if (p.packed != nullptr) {
        packed =
            p.packed + part.first * panels.vectors * kLanes + part.count * panels.column(begin);
      } else {
        float* to = scratch;
        for (std::int64_t j = begin; j < end; to += part.count * panels.width(j++)) {
          pack_panel(p.b, p.n, p.k, part, panels.column(j), panels.width(j), to);
        }
      }
      multiply_panels(p, part, piece, begin, end, packed, finish);
    }
  }
}

std::int64_t count_panels(std::int64_t n) { return panels_of(n).count; }
std::int64_t scratch_floats(const WideProduct& p) {
  return std::min(p.k, kMostDepth) *
         std::min(kPanelsAtOnce * std::int64_t(kMaxVectors), panels_of(p.n).vectors) * kLanes;
}
std::int64_t packed_floats(std::int64_t n, std::int64_t k) {
  return k * panels_of(n).vectors * kLanes;
}
/// Panel i of all parts of the depth.
void pack_panel_of(const float* b, std::int64_t n, std::int64_t k, std::int64_t i, float* packed) {
  const Panels panels = panels_of(n);
  for (std::int64_t j = 0; j < depth_parts(k); ++j) {
    const DepthPart part = depth_part(k, j);
    pack_panel(b, n, k, part, panels.column(i), panels.width(i),
               packed + part.first * panels.vectors * kLanes + part.count * panels.column(i));
  }
}

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/core/parallel.h"
#include "kernels/core/workspace.h"

namespace hh::cpu {
namespace {

HWY_EXPORT(multiply_piece);
HWY_EXPORT(count_panels);
HWY_EXPORT(scratch_floats);
HWY_EXPORT(packed_floats);
HWY_EXPORT(pack_panel_of);

/// In whole panels, whose cost is that of some 48 columns: packing an element of b takes as long as 24
/// multiplications, reading one of a again as long as 4.
Pieces pieces_of(const WideProduct& p) {
  const double packing = p.packed != nullptr ? 4 : 24;
  return {p.m,
          HWY_DYNAMIC_DISPATCH(count_panels)(p.n),
          48 * p.k,
          {.rows = 8, .columns = 1, .copy_a = 4. / 48, .copy_b = packing}};
}

std::size_t scratch_bytes(const WideProduct& p) {
  if (p.packed != nullptr) return 0;
  return Workspace::padded(std::size_t(HWY_DYNAMIC_DISPATCH(scratch_floats)(p)) * sizeof(float));
}

}  // namespace

void run(const WideProduct& p, void* workspace, const FinishTile* finish) {
  const Pieces pieces = pieces_of(p);
  const std::size_t bytes = scratch_bytes(p);
  parallel_items(pieces.count(), [&](int worker, std::int64_t i) {
    HWY_DYNAMIC_DISPATCH(multiply_piece)
    (p, pieces[i], static_cast<float*>(Workspace::piece(workspace, worker, bytes).rest()), finish);
  });
}

std::size_t workspace_bytes(const WideProduct& p) {
  return scratch_bytes(p) *
         std::size_t(std::min<std::int64_t>(num_threads(), pieces_of(p).count()));
}

void pack_factor(const float* b, std::int64_t n, std::int64_t k, float* packed) {
  parallel_for(HWY_DYNAMIC_DISPATCH(count_panels)(n), 1, [&](std::int64_t i, std::int64_t end) {
    for (; i < end; ++i) HWY_DYNAMIC_DISPATCH(pack_panel_of)(b, n, k, i, packed);
  });
}
std::size_t packed_factor_bytes(std::int64_t n, std::int64_t k) {
  return std::size_t(HWY_DYNAMIC_DISPATCH(packed_floats)(n, k)) * sizeof(float);
}

}  // namespace hh::cpu
#endif  // HWY_ONCE
