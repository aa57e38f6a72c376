// SPDX-License-Identifier: Apache-2.0
// Which tiles linear_gelu takes for a shape, by a rule from published figures of the GPU: no result
// of the forward pass depends on it, and of backward only the order of dbias's sums.
#pragma once
#include <algorithm>
#include <optional>

#include "kernels/core/row_groups.cuh"
#include "kernels/linear/linear_gelu_tiles.cuh"

namespace hh::gpu {
namespace linear_gelu {

using Small = Tile<2, 2, 2>;  // two blocks hide one another's stores
using Wide = Tile<2, 4, 1>;   // reads a least often
using Tall = Tile<4, 2, 1>;   // half of Wide's b, so that it can be kept twice as long

enum class TileKind { kSmall, kWide, kTall };

template <class Body>
void with_tile(TileKind kind, const Body& body) {
  if (kind == TileKind::kSmall) return body(Small());
  if (kind == TileKind::kWide) return body(Wide());
  body(Tall());
}

/// What dbias's sums need of shared memory: a float for each column and row of warps.
template <class Tile>
constexpr int sums_bytes() {
  return Tile::kWarpsM * Tile::kCols * int(sizeof(float));
}
template <class Tile>
std::int64_t partial_rows(const Plan& plan) {
  return std::int64_t{plan.slots()} * Tile::kWarpsM;
}

struct Gpu {
  int multiprocessors, block_bytes, multiprocessor_bytes;  // shared memory
};
inline Gpu this_gpu() {
  int device = 0;
  HH_CUDA_CHECK(cudaGetDevice(&device));
  const auto of = [&](cudaDeviceAttr attribute) {
    int value = 0;
    HH_CUDA_CHECK(cudaDeviceGetAttribute(&value, attribute, device));
    return value;
  };
  return {of(cudaDevAttrMultiProcessorCount), of(cudaDevAttrMaxSharedMemoryPerBlockOptin),
          of(cudaDevAttrMaxSharedMemoryPerMultiprocessor)};
}

struct ChosenPlan {
  TileKind tile;
  Plan plan;
};

/// A tile's plan and about how many cycles the busiest multiprocessor has; nothing where it doesn't
/// fit.
struct Offer {
  Plan plan;
  double cycles;
};
template <class Tile, class T>
std::optional<Offer> offer(const Operands<T>& p, bool backward, const Gpu& gpu) {
  constexpr int kSystemBytes = 1024;  // of each block
  const std::int64_t row_tiles = ceil_div(p.rows, std::int64_t{Tile::kRows});
  Plan plan{.steps = ceil_div(p.inner, kStep),
            .row_tiles = int(row_tiles),
            .panels = ceil_div(p.cols, Tile::kCols)};
  if (row_tiles * plan.panels > INT32_MAX / 2) return {};
  const int others = kStages * Tile::kStepBytesA + (backward ? sums_bytes<Tile>() : 0);
  const auto bytes = [&](int kept_panels) {
    plan.kept_panels = kept_panels;
    return std::int64_t{plan.b_places()} * Tile::kStepBytesB + others;
  };
  const auto blocks_of = [&](std::int64_t shared) {
    return shared > gpu.block_bytes
               ? 0
               : int(std::min<std::int64_t>(Tile::kBlocks,
                                            gpu.multiprocessor_bytes / (shared + kSystemBytes)));
  };
  // A step's place may be written again when all warps have passed it, kStages steps later: a short
  // panel needs a second set of places.
  int kept = plan.steps >= kStages ? 1 : plan.steps == kStages - 1 ? 2 : 0;
  if (plan.steps > 1024 || blocks_of(bytes(kept)) < Tile::kBlocks) kept = 0;
  plan.shared_bytes = int(bytes(kept));
  const int at_once = blocks_of(plan.shared_bytes);
  if (at_once == 0) return {};
  plan.tiles_per_block = ceil_div(plan.tiles(), gpu.multiprocessors * at_once);
  plan.blocks = ceil_div(plan.tiles(), plan.tiles_per_block);
  // Of an H100 and its multiprocessors: bytes that L2 delivers in a cycle, and products of what
  // mma.sync reaches, about 0.6 of the peak. Of other GPUs the ratio is similar.
  constexpr double kL2Bytes = 22, kProducts = 1200;
  const double read = double(p.inner) * 2 * (Tile::kRows + (kept == 0 ? Tile::kCols : 0));
  const double moved = read + 2.0 * 2 * Tile::kRows * Tile::kCols;
  const double products = double(Tile::kRows) * Tile::kCols * p.inner;
  return Offer{plan, double(plan.tiles_per_block) * at_once *
                         std::max(moved / kL2Bytes, products / kProducts)};
}

/// Nothing where one kernel can't: rows of 16-byte chunks are needed.
template <class T>
std::optional<ChosenPlan> choose_plan(const Operands<T>& p, bool backward) {
  if (p.rows == 0 || p.cols % kChunk != 0 || p.inner % kChunk != 0) return {};
  const Gpu gpu = this_gpu();
  std::optional<ChosenPlan> best;
  double least = 0;
  for (const TileKind kind : {TileKind::kSmall, TileKind::kWide, TileKind::kTall}) {
    with_tile(kind, [&](auto tile) {
      const auto found = offer<decltype(tile)>(p, backward, gpu);
      if (!found || (best && found->cycles >= least)) return;
      least = found->cycles;
      best = ChosenPlan{kind, found->plan};
    });
  }
  return best;
}

template <class Args>
struct Is16Bit;
template <template <class> class Args, class T>
struct Is16Bit<Args<T>> : std::bool_constant<sizeof(T) == 2> {};

}  // namespace linear_gelu
}  // namespace hh::gpu
