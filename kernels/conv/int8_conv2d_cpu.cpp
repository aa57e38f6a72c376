// SPDX-License-Identifier: Apache-2.0
// Pieces of pixels. What a pixel sees is gathered in the first-level cache and becomes bytes at once; the
// bytes of a piece stay in the second-level cache. oneDNN's own convolution of bytes would take one
// scale for an image, which rounds its darker parts away.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv/int8_conv2d_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per target.
#include <algorithm>
#include <cstdint>

#include "kernels/conv/int8_conv2d.h"
#include "kernels/gemm/int8_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

/// seen[u, v, c] of pixel i, j of an image.
void gather(const Conv2dShape& s, const float* image, std::int64_t i, std::int64_t j, float* seen) {
  const std::int64_t channels = s.in_channels, side = (s.kernel_w - 1) / 2;
  const std::int64_t left = std::max<std::int64_t>(0, side - j);
  const std::int64_t right = std::min<std::int64_t>(s.kernel_w, s.width + side - j);
  for (std::int64_t u = 0; u < s.kernel_h; ++u, seen += s.kernel_w * channels) {
    const std::int64_t row = i + u - (s.kernel_h - 1) / 2;
    if (row < 0 || row >= s.height) {
      std::fill_n(seen, s.kernel_w * channels, 0.0f);
      continue;
    }
    // Neighbours in a row lie side by side.
    std::fill_n(seen, left * channels, 0.0f);
    std::copy_n(image + (row * s.width + j - side + left) * channels, (right - left) * channels,
                seen + left * channels);
    std::fill_n(seen + right * channels, (s.kernel_w - right) * channels, 0.0f);
  }
}

/// The bytes and scales of some pixels' neighbourhoods. seen: p.seen().
void quantise_pixels(const Int8Conv2dForward& p, std::int64_t first, std::int64_t count,
                     float* seen, std::uint8_t* q, float* scales) {
  const Conv2dShape& s = p.shape;
  const std::int64_t size = std::int64_t{s.height} * s.width;
  for (std::int64_t r = 0; r < count; ++r) {
    const std::int64_t image = (first + r) / size, pixel = (first + r) % size;
    gather(s, p.x + image * size * s.in_channels, pixel / s.width, pixel % s.width, seen);
    quantise(seen, 1, p.seen(), q + r * p.seen(), scales + r);
  }
}

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/core/check_workspace.h"
#include "kernels/gemm/int8_pieces.h"

namespace hh::cpu {
namespace {

HWY_EXPORT(quantise_pixels);
HWY_EXPORT(finish_plain);

struct Plan {
  explicit Plan(const Int8Conv2dForward& p)
      : pieces(p.shape.pixels(), p.shape.out_channels),
        product(pieces, p.seen(), p.shape.out_channels),
        library(Workspace::padded(product.scratch_bytes())),
        piece(piece_bytes(pieces, p.seen(), 0, library + std::size_t(p.seen()) * sizeof(float))) {}
  RowPieces pieces;
  PieceProduct product;
  std::size_t library;  // bytes that oneDNN wants; behind them, what a pixel sees
  std::size_t piece;    // bytes of a worker
};

}  // namespace

std::size_t workspace_bytes(const Int8Conv2dForward& p) {
  p.validate();
  if (p.shape.images == 0) return 0;
  const Plan plan(p);
  return workers_of(plan.pieces) * plan.piece;
}

void run(const Int8Conv2dForward& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  if (p.shape.images == 0) return;
  const Plan plan(p);
  const int out = p.shape.out_channels;
  const Int8Layer layer(p.packed, out);
  for_pieces(plan.pieces, p.workspace, plan.piece, p.seen(), 0,
             [&](std::int64_t first, std::int64_t count, const PieceScratch& s) {
               auto* const seen =
                   reinterpret_cast<float*>(static_cast<std::byte*>(s.library) + plan.library);
               HWY_DYNAMIC_DISPATCH(quantise_pixels)(p, first, count, seen, s.q, s.row_scales);
               float* const y = p.y + first * out;
               plan.product.run(count, s.q, layer, as_sums(y), s.library);
               HWY_DYNAMIC_DISPATCH(finish_plain)
               (as_sums(y), count, out, s.row_scales, layer, p.bias, y);
             });
}

}  // namespace hh::cpu
#endif  // HWY_ONCE
