// SPDX-License-Identifier: Apache-2.0
// Mapping   linear_gelu_tiles.cuh. A warp's sums stay in registers; four lanes exchange theirs so
//           that each has 16 bytes of a row, and 64 neighbouring bytes are accessed together.
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

/// Where a lane's 16 bytes of a warp's 64 x 64 lie: row g + 8 * half of 16 rows, and of 32 columns
/// those of mma's tile t, t + 4.
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

/// bias of the lane's columns in mma's layout; 0 beyond the matrix.
__device__ inline void load_bias(const float* bias, int first_col, int cols, float (&to)[8][2]) {
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    const int col = first_col + n * 8 + int(threadIdx.x) % 4 * 2;
    const float2 two =
        col < cols ? *reinterpret_cast<const float2*>(bias + col) : make_float2(0, 0);
    to[n][0] = two.x;
    to[n][1] = two.y;
  }
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
    float b[8][2];
    load_bias(bias, place.first_col, p.cols, b);
#pragma unroll
    for (int m = 0; m < 4; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const std::int64_t row = place.row(m, half);
#pragma unroll
        for (int quad = 0; quad < 2; ++quad) {
          unsigned sums[4], values[4];
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            const int n = 4 * quad + j;
            const float v0 = c[m][n][2 * half], v1 = c[m][n][2 * half + 1];
            sums[j] = pack_halves<T>(v0, v1);
            values[j] = pack_halves<T>(gelu(v0 + b[n][0]), gelu(v1 + b[n][1]));
          }
          const int col = place.col(quad);
          const bool inside = row < p.rows && col < p.cols;
          const std::int64_t to = row * p.cols + col;
          transpose_in_four_lanes(values);
          if (inside) store16(y + to, values);
          if (pre == nullptr) continue;
          transpose_in_four_lanes(sums);
          if (inside) store16(pre + to, sums);
        }
      }
    }
  }
}

/// Sums over a warp's rows of the columns of a panel, a place in shared memory for each lane
/// t < 4's 16 columns: a block's rows of a panel before they leave as partial sums.
class PanelSums {
 public:
  __device__ PanelSums(float* shared, int warp, int lane)
      : mine_(shared + warp * kWarpTile), lane_(lane) {
    if (lane_ < 4) clear();
  }
  /// `sums`: of the lane's rows, in mma's layout.
  __device__ void add(float (&sums)[8][2]) {
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        float& sum = sums[n][k];
#pragma unroll
        for (int step = 4; step < kWarpSize; step *= 2) {
          sum += __shfl_xor_sync(kFullMask, sum, step);
        }
        if (lane_ < 4) mine_[n * 8 + lane_ * 2 + k] += sum;
      }
    }
  }
  /// Writes them to `row` of the partial sums and zeros to the rows at `stride` after it, which no
  /// block has, and begins again.
  __device__ void leave(float* row, int columns_left, int zero_rows, std::int64_t stride) {
    if (lane_ >= 4) return;
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      const int c = n * 8 + lane_ * 2;
      if (c >= columns_left) break;
      row[c] = mine_[c];
      row[c + 1] = mine_[c + 1];
      for (int i = 1; i <= zero_rows; ++i) row[i * stride + c] = row[i * stride + c + 1] = 0;
    }
    clear();
  }

 private:
  __device__ void clear() {
#pragma unroll
    for (int n = 0; n < 8; ++n) mine_[n * 8 + lane_ * 2] = mine_[n * 8 + lane_ * 2 + 1] = 0;
  }
  float* mine_;
  int lane_;
};

/// The lane's 16 bytes of 16 rows of pre, as they lie; zeros beyond the matrix.
template <class T>
__device__ void load_pre(const T* pre, const LanePlace& place, int m, std::int64_t rows, int cols,
                         unsigned (&to)[2][2][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::int64_t row = place.row(m, half);
#pragma unroll
    for (int quad = 0; quad < 2; ++quad) {
      const int col = place.col(quad);
      if (row < rows && col < cols) {
        load16(to[half][quad], pre + row * cols + col);
      } else {
#pragma unroll
        for (unsigned& v : to[half][quad]) v = 0;
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
  const int lane = int(threadIdx.x) % kWarpSize, warp = int(threadIdx.x) / kWarpSize;
  TileProduct<T, Tile, true> product(p, plan, shared_address(shared));
  PanelSums panel_sums(reinterpret_cast<float*>(reinterpret_cast<char*>(shared) +
                                                plan.shared_bytes - sums_bytes<Tile>()),
                       warp, lane);
  for (Walk at(plan); !at.done(); at.next_tile(plan)) {
    Sums c;
    product.multiply(at, c);
    const LanePlace place(at, Tile::kRows, Tile::kCols, product.warp_row(), product.warp_col());
    unsigned saved[2][2][2][4];
    load_pre(pre, place, 0, p.rows, p.cols, saved[0]);
    float b[8][2], sums[8][2] = {};
    load_bias(bias, place.first_col, p.cols, b);
#pragma unroll
    for (int m = 0; m < 4; ++m) {
      // The next rows are under way while these are computed.
      if (m < 3) load_pre(pre, place, m + 1, p.rows, p.cols, saved[(m + 1) % 2]);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const std::int64_t row = place.row(m, half);
#pragma unroll
        for (int quad = 0; quad < 2; ++quad) {
          unsigned(&v)[4] = saved[m % 2][half][quad];
          transpose_in_four_lanes(v);
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            const int n = 4 * quad + j;
            float g[2];
#pragma unroll
            for (int k = 0; k < 2; ++k) {
              g[k] = c[m][n][2 * half + k] * gelu_slope(widen_half<T>(v[j], k) + b[n][k]);
              sums[n][k] += g[k];
            }
            v[j] = pack_halves<T>(g[0], g[1]);
          }
          transpose_in_four_lanes(v);
          const int col = place.col(quad);
          if (row < p.rows && col < p.cols) store16(dpre + row * p.cols + col, v);
        }
      }
    }
    panel_sums.add(sums);
    if (at.ends_panel(plan)) {
      // The panel's rows of partial sums: kWarpsM for each block that may have tiles of it.
      const int slot = int(blockIdx.x) - at.panel * plan.row_tiles / plan.tiles_per_block;
      const bool last = at.row_tile + 1 == plan.row_tiles;
      const std::int64_t row = slot * Tile::kWarpsM + warp % Tile::kWarpsM;
      panel_sums.leave(partials + row * p.cols + place.first_col, p.cols - place.first_col,
                       last ? plan.slots() - 1 - slot : 0, std::int64_t{Tile::kWarpsM} * p.cols);
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
  if (!p.one_kernel || !all_aligned16(p.x, p.weight, p.bias, p.pre, p.y)) return {};
  return choose_plan(operands_of(p), false);
}
template <class T>
std::optional<ChosenPlan> plan_of(const LinearGeluBackward<T>& p) {
  if (!p.one_kernel || !all_aligned16(p.dout, p.weight, p.bias, p.pre, p.dpre)) return {};
  return choose_plan(operands_of(p), true);
}

template <class Tile, class T>
void launch_tiles(const LinearGeluForward<T>& p, const Plan& plan, StreamHandle stream) {
  launch(linear_gelu_forward_kernel<T, Tile>, plan.blocks, Tile::kThreads,
         std::size_t(plan.shared_bytes), stream, operands_of(p), plan, p.bias, p.pre, p.y);
}
template <class Tile, class T>
void launch_tiles(const LinearGeluBackward<T>& p, const Plan& plan, StreamHandle stream) {
  auto* const partials = static_cast<float*>(p.workspace);
  launch(linear_gelu_backward_kernel<T, Tile>, plan.blocks, Tile::kThreads,
         std::size_t(plan.shared_bytes), stream, operands_of(p), plan, p.bias, p.pre, p.dpre,
         partials);
  add_column_sums<1>(
      {.partials = partials, .blocks = partial_rows<Tile>(plan), .cols = p.hidden, .to = {p.dbias}},
      stream);
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
std::size_t workspace_bytes(const LinearGeluBackward<T>& p) {
  if constexpr (sizeof(T) == 2) {
    if (const auto chosen = plan_of(p)) {
      std::int64_t rows = 0;
      with_tile(chosen->tile,
                [&](auto tile) { rows = partial_rows<decltype(tile)>(chosen->plan); });
      return std::size_t(rows) * std::size_t(p.hidden) * sizeof(float);
    }
  }
  return std::max(workspace_bytes(product_of(p)), workspace_bytes(gelu_of(p)));
}

#define HH_LINEAR_GELU_OF(T)                                         \
  template void run(const LinearGeluForward<T>&, StreamHandle);      \
  template void run(const LinearGeluBackward<T>&, StreamHandle);     \
  template std::size_t workspace_bytes(const LinearGeluForward<T>&); \
  template std::size_t workspace_bytes(const LinearGeluBackward<T>&);
HH_LINEAR_GELU_OF(float)
HH_LINEAR_GELU_OF(bf16)
HH_LINEAR_GELU_OF(f16)
#undef HH_LINEAR_GELU_OF

}  // namespace hh::gpu
