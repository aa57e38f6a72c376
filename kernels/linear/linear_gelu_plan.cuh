// SPDX-License-Identifier: Apache-2.0
// Which tiles linear_gelu takes for a shape, and whether it takes any, by rules from published
// figures of GPUs: no kernel was timed on one yet. No result of the forward pass depends on the
// tiles, and of backward only the order of dbias's sums.
#pragma once
#include <algorithm>
#include <cmath>
#include <optional>

#include "kernels/core/gpu_limits.cuh"
#include "kernels/core/row_groups.cuh"
#include "kernels/linear/linear_gelu.h"
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

template <class Tile>
std::int64_t partial_rows(const Plan& plan) {
  return std::int64_t{plan.slots()} * Tile::kWarpsM;
}

struct ChosenPlan {
  TileKind tile;
  Plan plan;
};

/// What of an op the rules ask for besides its operands.
struct Kind {
  bool backward;
  int wide_arrays;  // [rows, cols] that one kernel reads or writes
};

// The rules count cycles of the busiest multiprocessor, by an H100's and H200's: bytes that L2 and
// DRAM deliver in a cycle, products of what mma.sync reaches (0.6 of the peak) and cuBLASLt (0.7).
// Of other GPUs the ratios are similar.
constexpr double kL2Bytes = 22, kDramBytes = 15, kProducts = 1200, kLibraryProducts = 1430;
constexpr double kLaunch = 3600;

/// A tile's plan and its cycles; nothing where it doesn't fit.
struct Offer {
  Plan plan;
  double cycles;
};
template <class Tile, class T>
std::optional<Offer> offer(const Operands<T>& p, const Kind& kind, const GpuLimits& gpu) {
  constexpr int kSystemBytes = 1024;  // of each block
  const std::int64_t row_tiles = ceil_div(p.rows, std::int64_t{Tile::kRows});
  Plan plan{.steps = ceil_div(p.inner, kStep),
            .row_tiles = int(row_tiles),
            .panels = ceil_div(p.cols, Tile::kCols)};
  if (row_tiles * plan.panels > INT32_MAX / 2) return {};
  const auto bytes = [&](int kept_panels) {
    plan.kept_panels = kept_panels;
    return std::int64_t{plan.b_places()} * Tile::kStepBytesB + kStages * Tile::kStepBytesA;
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
  const int sharing = std::min(at_once, ceil_div(plan.blocks, gpu.multiprocessors));
  const double outputs = double(Tile::kRows) * Tile::kCols;
  const double wide = 2 * kind.wide_arrays * outputs;
  const double read = 2.0 * p.inner * (Tile::kRows + (kept == 0 ? Tile::kCols : 0));
  const double tile =
      std::max({(read + wide) / kL2Bytes, wide / kDramBytes, outputs * p.inner / kProducts});
  return Offer{plan, double(plan.tiles_per_block) * sharing * tile};
}

/// Of cuBLASLt's product and bias_gelu.
template <class T>
double cycles_of_two_launches(const Operands<T>& p, const Kind& kind, const GpuLimits& gpu) {
  const double rows = double(p.rows), outputs = rows * p.cols;
  const double product =
      std::max(2 * (rows * p.inner + outputs) / kDramBytes, outputs * p.inner / kLibraryProducts);
  const double gelu = 2 * (kind.backward ? 3 : 2) * outputs / kDramBytes;
  return kLaunch + (product + gelu) / gpu.multiprocessors;
}

/// Nothing where one kernel can't, since it needs rows of 16-byte chunks, or isn't wanted.
template <class T>
std::optional<ChosenPlan> choose_plan(const Operands<T>& p, LinearGeluWay way, const Kind& kind) {
  if (way == LinearGeluWay::kTwoLaunches) return {};
  if (p.rows == 0 || p.cols % kChunk != 0 || p.inner % kChunk != 0) return {};
  const GpuLimits gpu = gpu_limits();
  std::optional<ChosenPlan> best;
  double least = way == LinearGeluWay::kByShape ? cycles_of_two_launches(p, kind, gpu) : HUGE_VAL;
  for (const TileKind tile : {TileKind::kSmall, TileKind::kWide, TileKind::kTall}) {
    with_tile(tile, [&](auto of) {
      const auto found = offer<decltype(of)>(p, kind, gpu);
      if (!found || found->cycles >= least) return;
      least = found->cycles;
      best = ChosenPlan{tile, found->plan};
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
