// SPDX-License-Identifier: Apache-2.0
// Mapping   linear_gelu_tiles.cuh. A warp's sums stay in registers. A lane has 16 bytes of a row and
//           four lanes 64 neighbouring ones, without an exchange: what mma takes for neighbouring
//           columns of b needn't be.
// Traffic   x and w as the tiles repeat them, from L2; pre and y are written once. Backward reads
//           pre and writes dpre once, and leaves a row of partial sums for each block and panel.
// Numerics  Products of 16-bit numbers, float32 sums over the inner dimension in steps of 16.
//           Bias, GELU (gelu.cuh) and its derivative are float32 and act on the sums before these
//           are rounded; backward takes the rounded pre.
#include <optional>

#include "kernels/core/column_sum.cuh"
#include "kernels/gemm/gemm.cuh"
#include "kernels/linear/gelu.cuh"
#include "kernels/linear/linear_gelu_passes.h"
#include "kernels/linear/linear_gelu_plan.cuh"

namespace hh::gpu {
namespace {

using namespace linear_gelu;

/// Where a lane's 16 bytes of a warp's 64 x 64 lie: row g + 8 * half of 16 rows, and the t-th 8 of
/// 32 columns.
struct LanePlace {
  __device__ LanePlace(const Walk& at, int tile_rows, int tile_cols, int warp_row, int warp_col)
      : first_row(std::int64_t{at.row_tile} * tile_rows + warp_row + int(threadIdx.x) % 32 / 4),
        first_col(at.panel * tile_cols + warp_col) {}
  __device__ std::int64_t row(int m, int half) const { return first_row + m * 16 + half * 8; }
  __device__ int col(int quad) const {
    return first_col + quad * 32 + int(threadIdx.x) % 4 * kChunk;
  }
  std::int64_t first_row;
  int first_col;  // of the warp
};

/// Of the lane's columns; what lies beyond the matrix isn't used.
__device__ inline void load_bias(const float* bias, const LanePlace& place, int cols,
                                 float (&to)[2][kChunk]) {
#pragma unroll
  for (int quad = 0; quad < 2; ++quad) {
    const int col = place.col(quad);
    if (col < cols) load_floats(bias + col, to[quad]);
  }
}
/// Of the lane's row, its 8 columns of 32.
__device__ inline void sums_of(const Sums& c, int m, int half, int quad, float (&to)[kChunk]) {
#pragma unroll
  for (int k = 0; k < kChunk; ++k) to[k] = c[m][4 * quad + k / 2][2 * half + k % 2];
}

template <class T, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    linear_gelu_forward_kernel(const __grid_constant__ Operands<T> p,
                               const __grid_constant__ Plan plan, const float* bias, T* pre, T* y) {
  extern __shared__ uint4 shared[];
  TileProduct<T, Tile, false> product(p, plan, shared_address(shared));
  for (Walk at(plan); !at.done(); at.next_tile(plan)) {
    Sums c;
    product.multiply(at, c);
    const LanePlace place(at, Tile::kRows, Tile::kCols, product.warp_row(), product.warp_col());
    float b[2][kChunk];
    load_bias(bias, place, p.cols, b);
#pragma unroll
    for (int m = 0; m < 4; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const std::int64_t row = place.row(m, half);
        if (row >= p.rows) continue;
#pragma unroll
        for (int quad = 0; quad < 2; ++quad) {
          if (place.col(quad) >= p.cols) continue;
          float v[kChunk];
          sums_of(c, m, half, quad, v);
          const std::int64_t to = row * p.cols + place.col(quad);
          if (pre != nullptr) store_floats(v, pre + to);
#pragma unroll
          for (int k = 0; k < kChunk; ++k) v[k] = gelu(v[k] + b[quad][k]);
          store_floats(v, y + to);
        }
      }
    }
  }
}

/// The sums of a lane's columns over its rows of a panel: dbias's partial sums.
class PanelSums {
 public:
  __device__ void add(int quad, const float (&v)[kChunk]) {
#pragma unroll
    for (int k = 0; k < kChunk; ++k) sums_[quad][k] += v[k];
  }
  /// Writes the warp's sums to `row` of the partial sums, zeros to the `zero_rows` at `stride`
  /// after it, which no block has, and begins again.
  __device__ void leave(float* row, const LanePlace& place, int cols, int zero_rows,
                        std::int64_t stride) {
#pragma unroll
    for (int quad = 0; quad < 2; ++quad) {
#pragma unroll
      for (float& sum : sums_[quad]) {
#pragma unroll
        for (int step = 4; step < kWarpSize; step *= 2) {
          sum += __shfl_xor_sync(kFullMask, sum, step);
        }
      }
      const int col = place.col(quad);
      const bool writes = int(threadIdx.x) % kWarpSize < 4 && col < cols;
      if (writes) store_floats(sums_[quad], row + col);
#pragma unroll
      for (float& sum : sums_[quad]) sum = 0;
      for (int i = 1; writes && i <= zero_rows; ++i)
        store_floats(sums_[quad], row + i * stride + col);
    }
  }

 private:
  float sums_[2][kChunk] = {};
};

/// The lane's 16 bytes of 16 rows of pre; unset beyond the matrix.
template <class T>
using Saved = Pack<T, kChunk>[2][2];
template <class T>
__device__ void load_pre(const T* pre, const LanePlace& place, int m, std::int64_t rows, int cols,
                         Saved<T>& to) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::int64_t row = place.row(m, half);
#pragma unroll
    for (int quad = 0; quad < 2; ++quad) {
      const int col = place.col(quad);
      if (row < rows && col < cols) {
        to[half][quad] = *reinterpret_cast<const Pack<T, kChunk>*>(pre + row * cols + col);
      }
    }
  }
}

template <class T, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    linear_gelu_backward_kernel(const __grid_constant__ Operands<T> p,
                                const __grid_constant__ Plan plan, const float* bias, const T* pre,
                                T* dpre, float* partials) {
  extern __shared__ uint4 shared[];
  TileProduct<T, Tile, true> product(p, plan, shared_address(shared));
  PanelSums panel_sums;
  for (Walk at(plan); !at.done(); at.next_tile(plan)) {
    Sums c;
    product.multiply(at, c);
    const LanePlace place(at, Tile::kRows, Tile::kCols, product.warp_row(), product.warp_col());
    // The next rows are under way while these are computed, unless another block's are.
    constexpr int kAhead = Tile::kBlocks == 1 ? 1 : 0;
    Saved<T> saved[1 + kAhead];
    if constexpr (kAhead == 1) load_pre(pre, place, 0, p.rows, p.cols, saved[0]);
    float b[2][kChunk];
    load_bias(bias, place, p.cols, b);
#pragma unroll
    for (int m = 0; m < 4; ++m) {
      const int next = m + kAhead;
      if (next < 4) load_pre(pre, place, next, p.rows, p.cols, saved[next % (1 + kAhead)]);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const std::int64_t row = place.row(m, half);
        if (row >= p.rows) continue;
#pragma unroll
        for (int quad = 0; quad < 2; ++quad) {
          if (place.col(quad) >= p.cols) continue;
          float g[kChunk];
          sums_of(c, m, half, quad, g);
#pragma unroll
          for (int k = 0; k < kChunk; ++k) {
            g[k] *= gelu_slope(saved[m % (1 + kAhead)][half][quad].get(k) + b[quad][k]);
          }
          panel_sums.add(quad, g);
          store_floats(g, dpre + row * p.cols + place.col(quad));
        }
      }
    }
    if (at.ends_panel(plan)) {
      // The panel's rows of partial sums: kWarpsM for each block that may have tiles of it.
      const int slot = int(blockIdx.x) - at.panel * plan.row_tiles / plan.tiles_per_block;
      const int unused = at.row_tile + 1 == plan.row_tiles ? plan.slots() - 1 - slot : 0;
      const int row = slot * Tile::kWarpsM + product.warp_row() / kWarpTile;
      panel_sums.leave(partials + std::int64_t{row} * p.cols, place, p.cols, unused,
                       std::int64_t{Tile::kWarpsM} * p.cols);
    }
  }
}

template <class T>
Operands<T> operands_of(const LinearGeluForward<T>& p) {
  return {.a = p.x, .b = p.weight, .rows = p.rows, .cols = p.hidden, .inner = p.in};
}
template <class T>
Operands<T> operands_of(const LinearGeluBackward<T>& p) {
  return {.a = p.dout, .b = p.weight, .rows = p.rows, .cols = p.hidden, .inner = p.out};
}

/// The tiles of one kernel, if it can be one.
template <class T>
std::optional<ChosenPlan> plan_of(const LinearGeluForward<T>& p) {
  if (!all_aligned16(p.x, p.weight, p.bias, p.pre, p.y)) return {};
  return choose_plan(operands_of(p), p.way, {.backward = false, .wide_arrays = p.pre ? 2 : 1});
}
template <class T>
std::optional<ChosenPlan> plan_of(const LinearGeluBackward<T>& p) {
  if (!all_aligned16(p.dout, p.weight, p.bias, p.pre, p.dpre)) return {};
  return choose_plan(operands_of(p), p.way, {.backward = true, .wide_arrays = 2});
}

template <class Tile, class T>
void launch_tiles(const LinearGeluForward<T>& p, const Plan& plan, StreamHandle stream) {
  launch(linear_gelu_forward_kernel<T, Tile>, plan.blocks, Tile::kThreads,
         std::size_t(plan.shared_bytes), stream, operands_of(p), plan, p.bias, p.pre, p.y);
}
template <class Tile, class T>
void launch_tiles(const LinearGeluBackward<T>& p, const Plan& plan, StreamHandle stream) {
  float* const partials = rows_of_sums(p.left, p.workspace);
  launch(linear_gelu_backward_kernel<T, Tile>, plan.blocks, Tile::kThreads,
         std::size_t(plan.shared_bytes), stream, operands_of(p), plan, p.bias, p.pre, p.dpre,
         partials);
  finish_sums(
      {.rows = partials, .count = partial_rows<Tile>(plan), .cols = p.hidden, .to = {p.dbias}},
      p.left, stream);
}

template <class Args>
void run_either_way(const Args& p, StreamHandle stream) {
  p.validate();
  if (p.rows == 0) return;
  if constexpr (Is16Bit<Args>::value) {
    if (const auto chosen = plan_of(p)) {
      return with_tile(chosen->tile,
                       [&](auto tile) { launch_tiles<decltype(tile)>(p, chosen->plan, stream); });
    }
  }
  run(product_of(p), stream);
  run(gelu_of(p), stream);
}

}  // namespace

template <class T>
void run(const LinearGeluForward<T>& p, StreamHandle stream) {
  run_either_way(p, stream);
}
template <class T>
void run(const LinearGeluBackward<T>& p, StreamHandle stream) {
  run_either_way(p, stream);
}

template <class T>
std::size_t workspace_bytes(const LinearGeluForward<T>& p) {
  if constexpr (sizeof(T) == 2) {
    if (plan_of(p)) return 0;
  }
  return workspace_bytes(product_of(p));
}
template <class T>
std::size_t partial_sums_bytes(const LinearGeluBackward<T>& p) {
  if constexpr (sizeof(T) == 2) {
    if (const auto chosen = plan_of(p)) {
      std::int64_t rows = 0;
      with_tile(chosen->tile,
                [&](auto tile) { rows = partial_rows<decltype(tile)>(chosen->plan); });
      return std::size_t(rows) * std::size_t(p.hidden) * sizeof(float);
    }
  }
  return partial_sums_bytes(gelu_of(p));
}
template <class T>
std::size_t workspace_bytes(const LinearGeluBackward<T>& p) {
  const std::size_t own_sums = p.left != nullptr ? 0 : partial_sums_bytes(p);
  if constexpr (sizeof(T) == 2) {
    if (plan_of(p)) return own_sums;
  }
  return std::max(workspace_bytes(product_of(p)), own_sums);
}

#define HH_LINEAR_GELU_OF(T)                                          \
  template void run(const LinearGeluForward<T>&, StreamHandle);       \
  template void run(const LinearGeluBackward<T>&, StreamHandle);      \
  template std::size_t workspace_bytes(const LinearGeluForward<T>&);  \
  template std::size_t workspace_bytes(const LinearGeluBackward<T>&); \
  template std::size_t partial_sums_bytes(const LinearGeluBackward<T>&);
HH_LINEAR_GELU_OF(float)
HH_LINEAR_GELU_OF(bf16)
HH_LINEAR_GELU_OF(f16)
#undef HH_LINEAR_GELU_OF

}  // namespace hh::gpu
