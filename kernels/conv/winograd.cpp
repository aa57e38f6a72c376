// SPDX-License-Identifier: Apache-2.0
// Maths     "Fast Algorithms for Convolutional Neural Networks" (Lavin and Gray, 2015), F(2 x 2, 3 x 3): of
//           a tile of 2 x 2 outputs, Y = A^T [(G g G^T) . (B^T d B)] A, where d is the 4 x 4 pixels that
//           they see. Each of the 16 elements is a product of matrices: tiles x Cin by Cin x Cout.
// Blocks    Of tiles, whose 16 matrices stay in the second-level cache; of these a panel of outputs
//           at a time, whose 16 products are turned back to pixels while they are there.
// Numerics  float32. B and A add up to four numbers, G halves sums: errors are relative to the largest
//           of the 4 x 4 pixels, not of the 3 x 3 (tests/kernels/conv2d_test.cpp has the bound).
// Figures   docs/decisions/gemm.md
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv/winograd.cpp"
#include <hwy/foreach_target.h>
// clang-format: foreach_target.h must come first.
#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

#include "kernels/conv/winograd.h"
#include "kernels/conv/winograd_blocks.h"
#include "kernels/core/transpose-inl.h"
#include "kernels/gemm/small_product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

constexpr hn::ScalableTag<float> kFloats;
constexpr std::int64_t kLanes = hn::MaxLanes(kFloats);
using V = hn::Vec<decltype(kFloats)>;

/// v = B^T v of four numbers: [0]-[2], [1]+[2], [2]-[1], [1]-[3].
HWY_INLINE void transform_input(V& a, V& b, V& c, V& d) {
  a = hn::Sub(a, c);
  d = hn::Sub(b, d);
  const V sum = hn::Add(b, c);
  c = hn::Sub(c, b);
  b = sum;
}
/// G v of three: [0], ([0]+[1]+[2])/2, ([0]-[1]+[2])/2, [2].
HWY_INLINE void transform_taps(V a, V b, V c, V* to, std::size_t step) {
  const V half = hn::Set(kFloats, 0.5f), outer = hn::Mul(half, hn::Add(a, c)),
          middle = hn::Mul(half, b);
  to[0] = a;
  to[step] = hn::Add(outer, middle);
  to[2 * step] = hn::Sub(outer, middle);
  to[3 * step] = c;
}

/// U[t][panel][c][x] of a panel's outputs, for a vector of them: columns from `column` on.
void transform_weights(const Winograd& p, const WinogradBlocks& blocks, std::int64_t column,
                       float* to, std::int64_t width) {
  constexpr std::int64_t kChannels = 16;
  const std::int64_t in = p.shape.in_channels, out = p.shape.out_channels;
  HWY_ALIGN float taps[9 * kChannels * kLanes];
  for (std::int64_t c = 0; c < in; c += kChannels) {
    if (p.turned) {  // the state dict's [in, out, 3, 3] here
      for (std::int64_t i = 0; i < kChannels; ++i) {
        transpose<true>(kFloats, p.weight + ((c + i) * out + column) * 9, 9, kLanes, 9,
                        taps + 9 * i * kLanes, kLanes);
      }
    } else {
      transpose<true>(kFloats, p.weight + (column * in + c) * 9, std::size_t(in * 9), kLanes,
                      9 * kChannels, taps, kLanes);
    }
    for (std::int64_t i = 0; i < kChannels; ++i) {
      const auto tap = [&](std::int64_t t) HWY_ATTR {
        return hn::Load(kFloats, taps + (9 * i + (p.turned ? 8 - t : t)) * kLanes);
      };
      V columns[12], u[16];  // [4][3], [4][4]
      for (std::int64_t j = 0; j < 3; ++j) {
        transform_taps(tap(j), tap(3 + j), tap(6 + j), columns + j, 3);
      }
      for (std::int64_t j = 0; j < 4; ++j) {
        transform_taps(columns[3 * j], columns[3 * j + 1], columns[3 * j + 2], u + 4 * j, 1);
      }
      for (std::int64_t t = 0; t < 16; ++t) {
        hn::StoreU(u[t], kFloats, to + t * blocks.weights_apart + (c + i) * width);
      }
    }
  }
}

/// B^T d B of a tile, its element t to v[t * blocks.inputs_apart].
void transform_tile(const Winograd& p, const WinogradBlocks& blocks, const WinogradTile& tile,
                    float* v) {
  const std::int64_t channels = p.shape.in_channels, width = p.shape.width, height = p.shape.height;
  const float* const image = p.x + tile.image * height * width * channels;
  const float* from[16];
  for (std::int64_t t = 0; t < 16; ++t) {
    const std::int64_t row = tile.row - 1 + t / 4, column = tile.column - 1 + t % 4;
    const bool inside = row >= 0 && row < height && column >= 0 && column < width;
    from[t] = inside ? image + (row * width + column) * channels : nullptr;
  }
  for (std::int64_t c = 0; c < channels; c += kLanes) {
    V d[16];
#pragma GCC unroll 16
    for (std::int64_t t = 0; t < 16; ++t) {
      d[t] = from[t] != nullptr ? hn::LoadU(kFloats, from[t] + c) : hn::Zero(kFloats);
    }
#pragma GCC unroll 4
    for (std::int64_t j = 0; j < 4; ++j) transform_input(d[j], d[4 + j], d[8 + j], d[12 + j]);
#pragma GCC unroll 4
    for (std::int64_t i = 0; i < 16; i += 4) transform_input(d[i], d[i + 1], d[i + 2], d[i + 3]);
#pragma GCC unroll 16
    for (std::int64_t t = 0; t < 16; ++t) {
      hn::StoreU(d[t], kFloats, v + t * blocks.inputs_apart + c);
    }
  }
}

/// A^T m A of a tile and a panel, plus bias: its outputs from `column` on, those that the image has.
void finish_tile(const Winograd& p, const WinogradBlocks& blocks, const WinogradTile& tile,
                 const float* m, std::int64_t column, std::int64_t columns) {
  const std::int64_t channels = p.shape.out_channels, width = p.shape.width;
  const bool below = tile.row + 1 < p.shape.height, beside = tile.column + 1 < width;
  float* const y =
      p.y + ((tile.image * p.shape.height + tile.row) * width + tile.column) * channels + column;
  for (std::int64_t x = 0; x < columns; x += kLanes) {
    V upper[4], lower[4];
#pragma GCC unroll 4
    for (std::int64_t j = 0; j < 4; ++j) {
      const auto at = [&](std::int64_t i) HWY_ATTR {
        return hn::LoadU(kFloats, m + (4 * i + j) * blocks.sums_apart + x);
      };
      const V a = at(0), b = at(1), c = at(2), d = at(3);
      upper[j] = hn::Add(a, hn::Add(b, c));
      lower[j] = hn::Sub(hn::Sub(b, c), d);
    }
    const V bias = p.bias != nullptr ? hn::LoadU(kFloats, p.bias + column + x) : hn::Zero(kFloats);
    const auto left = [&](const V* row) HWY_ATTR {
      return hn::Add(hn::Add(row[0], hn::Add(row[1], row[2])), bias);
    };
    const auto right = [&](const V* row) HWY_ATTR {
      return hn::Add(hn::Sub(hn::Sub(row[1], row[2]), row[3]), bias);
    };
    hn::StoreU(left(upper), kFloats, y + x);
    if (beside) hn::StoreU(right(upper), kFloats, y + channels + x);
    if (!below) continue;
    hn::StoreU(left(lower), kFloats, y + width * channels + x);
    if (beside) hn::StoreU(right(lower), kFloats, y + (width + 1) * channels + x);
  }
}

/// A panel's weights, of all inputs.
void make_panel(const Winograd& p, const WinogradBlocks& blocks, std::int64_t panel,
                float* weights) {
  const std::int64_t first = blocks.panels.column(panel), width = blocks.panels.width(panel);
  for (std::int64_t x = 0; x < width; x += kLanes) {
    transform_weights(p, blocks, first + x, weights + first * p.shape.in_channels + x, width);
  }
}

void convolve_block(const Winograd& p, const WinogradBlocks& blocks, std::int64_t block,
                    const float* weights, float* inputs, float* sums) {
  const std::int64_t in = p.shape.in_channels, first = block * blocks.height,
                     tiles = std::min(blocks.height, blocks.tiles - first);
  for (std::int64_t i = 0; i < tiles; ++i) {
    transform_tile(p, blocks, blocks.tile(first + i), inputs + i * in);
  }
  for (std::int64_t panel = 0; panel < blocks.panels.count; ++panel) {
    const std::int64_t column = blocks.panels.column(panel), width = blocks.panels.width(panel);
    for (std::int64_t t = 0; t < 16; ++t) {
      product<Left::kRowsApart>(kFloats, {.rows = std::size_t(tiles),
                                          .depth = std::size_t(in),
                                          .vectors = std::size_t(width / kLanes),
                                          .a = inputs + t * blocks.inputs_apart,
                                          .a_stride = std::size_t(in),
                                          .b = weights + t * blocks.weights_apart + column * in,
                                          .b_pitch = std::size_t(width),
                                          .c = sums + t * blocks.sums_apart,
                                          .c_pitch = std::size_t(width)});
    }
    for (std::int64_t i = 0; i < tiles; ++i) {
      finish_tile(p, blocks, blocks.tile(first + i), sums + i * width, column, width);
    }
  }
}

WinogradBlocks blocks_of(const Conv2dShape& s) { return {s, kLanes, std::int64_t(kMaxVectors)}; }

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/core/parallel.h"
#include "kernels/core/workspace.h"

namespace hh::cpu {
namespace {

HWY_EXPORT(blocks_of);
HWY_EXPORT(make_panel);
HWY_EXPORT(convolve_block);

/// A worker's: a block's inputs, and its sums for a panel.
struct BlockScratch {
  BlockScratch(const WinogradBlocks& b, Workspace memory)
      : inputs(memory.take<float>(16 * b.inputs_apart)),
        sums(memory.take<float>(16 * b.sums_apart)),
        bytes(memory.bytes()) {}
  float *inputs, *sums;
  std::size_t bytes;
};

/// Weights for all, and what each worker has.
struct Scratch {
  Scratch(const WinogradBlocks& b, void* memory) : blocks(b) {
    Workspace all(memory);
    weights = all.take<float>(16 * b.weights_apart);
    workers = all.rest();
    worker_bytes = BlockScratch(b, Workspace(nullptr)).bytes;
    bytes =
        all.bytes() + worker_bytes * std::size_t(std::min<std::int64_t>(num_threads(), b.count()));
  }
  BlockScratch of(int worker) const {
    return {blocks, Workspace::piece(workers, worker, worker_bytes)};
  }
  const WinogradBlocks& blocks;
  float* weights;
  void* workers;
  std::size_t worker_bytes, bytes;
};

}  // namespace

bool winograd_gains(const Conv2dShape& s) {
  // Vectors of 16 channels; and weights are transformed once for an image's pixels at least.
  constexpr int kLeastPixels = 64;
  return s.kernel_h == 3 && s.kernel_w == 3 && s.in_channels % 16 == 0 &&
         s.out_channels % 16 == 0 && s.height * s.width >= kLeastPixels;
}

void run(const Winograd& p, void* workspace) {
  const WinogradBlocks blocks = HWY_DYNAMIC_DISPATCH(blocks_of)(p.shape);
  const Scratch scratch(blocks, workspace);
  parallel_chunks(blocks.panels.count, [&](std::int64_t i) {
    HWY_DYNAMIC_DISPATCH(make_panel)(p, blocks, i, scratch.weights);
  });
  parallel_items(blocks.count(), [&](int worker, std::int64_t i) {
    const BlockScratch own = scratch.of(worker);
    HWY_DYNAMIC_DISPATCH(convolve_block)(p, blocks, i, scratch.weights, own.inputs, own.sums);
  });
}

std::size_t winograd_bytes(const Conv2dShape& s) {
  Conv2dShape other = s;
  std::swap(other.in_channels, other.out_channels);
  const auto bytes = [](const Conv2dShape& shape) {
    return Scratch(HWY_DYNAMIC_DISPATCH(blocks_of)(shape), nullptr).bytes;
  };
  return std::max(bytes(s), bytes(other));
}

}  // namespace hh::cpu
#endif  // HWY_ONCE
