// SPDX-License-Identifier: Apache-2.0
// Mapping   A lane per channel: neighbouring lanes read neighbouring channels. A warp walks down a
//           strip of up to 4 x 7 windows and keeps each row's largest sums in registers, so that
//           rows shared by two windows are read once; forward adds the strips' means up in shared
//           memory, in order. Backward: a warp writes the two rows of pixels of 7 windows' centres.
// Traffic   once each, but for the rows and columns that strips share: 1/14 of local in forward,
//           argmax twice in backward.
#include "kernels/core/device.cuh"
#include "kernels/hash/hash_pool.h"

namespace hh::gpu {
namespace {

constexpr int kWide = 7, kHigh = 4;  // windows of a strip; the paper's map has 7 x 7
constexpr int kForwardWarps = 2;     // enough for the paper's map
constexpr int kBackwardThreads = 128;

__host__ __device__ inline int pooled_side(int side) { return (side - 1) / 2 + 1; }

/// The largest sum of a window so far and its place in the window.
struct Best {
  float sum = -INFINITY;
  int place = 4;  // the centre, which always is a pixel
  /// The first of equals stays.
  __device__ void see(float other, int at) {
    if (!(other > sum)) return;
    sum = other;
    place = at;
  }
};

/// Sums of one channel under windows [first, first + kWide) of a row of windows: the largest of the
/// three that each window has in row y of pixels, as if it were the window's first row.
template <class T>
__device__ void see_row(const HashPoolForward<T>& p, const T* local, float glob, int y, int first,
                        Best (&row)[kWide]) {
  float sum[2 * kWide + 1];
  const bool is_row = y >= 0 && y < p.side;
  std::int64_t at = (std::int64_t{y} * p.side + 2 * first - 1) * p.channels;
#pragma unroll
  for (int k = 0; k < 2 * kWide + 1; ++k, at += p.channels) {
    const unsigned x = unsigned(2 * first - 1 + k);  // left of the map: far right of it
    sum[k] = is_row && x < unsigned(p.side) ? widen(local[at]) + glob : -INFINITY;
  }
#pragma unroll
  for (int j = 0; j < kWide; ++j) {
    row[j] = {};
#pragma unroll
    for (int v = 0; v < 3; ++v) row[j].see(sum[2 * j + v], v);
  }
}

template <class T>
__global__ void __launch_bounds__(kForwardWarps* kWarpSize)
    hash_pool_forward_kernel(const HashPoolForward<T> p, int channel_blocks) {
  __shared__ float totals[kForwardWarps][kWarpSize];
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const int c = int(blockIdx.x) % channel_blocks * kWarpSize + lane;
  const std::int64_t image = int(blockIdx.x) / channel_blocks;
  const int o = pooled_side(p.side), across = ceil_div(o, kWide);
  float total = 0;
  for (int strip = warp; c < p.channels && strip < across * ceil_div(o, kHigh);
       strip += kForwardWarps) {
    const int first = strip % across * kWide, top = strip / across * kHigh;
    const T* const local = p.local + image * p.side * p.side * p.channels + c;
    const float glob = widen(p.glob[image * p.channels + c]);
    Best above[kWide];  // the row that two rows of windows share
    see_row(p, local, glob, 2 * top - 1, first, above);
    for (int i = top; i < min(top + kHigh, o); ++i) {
      Best best[kWide], row[kWide];
      see_row(p, local, glob, 2 * i, first, row);
#pragma unroll
      for (int j = 0; j < kWide; ++j) {
        best[j] = above[j];
        best[j].see(row[j].sum, 3 + row[j].place);
      }
      see_row(p, local, glob, 2 * i + 1, first, above);
#pragma unroll
      for (int j = 0; j < kWide; ++j) {
        if (first + j >= o) continue;
        best[j].see(above[j].sum, 6 + above[j].place);
        total += best[j].sum;
        if (p.argmax == nullptr) continue;
        p.argmax[((image * o + i) * o + first + j) * p.channels + c] = std::uint8_t(best[j].place);
      }
    }
  }
  totals[warp][lane] = total;
  __syncthreads();
  if (warp != 0 || c >= p.channels) return;
#pragma unroll
  for (int w = 1; w < kForwardWarps; ++w) total += totals[w][lane];
  p.pooled[image * p.channels + c] = narrow<T>(total / float(o * o));
}

/// Places of the winners in windows [first, first + kWide] of row i of the windows, one more than a
/// strip has; -1 where there is no such window.
template <class T>
__device__ void load_winners(const HashPoolBackward<T>& p, std::int64_t image, int i, int first,
                             int c, int (&to)[kWide + 1]) {
  const int o = pooled_side(p.side);
#pragma unroll
  for (int j = 0; j <= kWide; ++j) {
    const bool inside = i < o && first + j < o;
    to[j] = inside ? p.argmax[((image * o + i) * o + first + j) * p.channels + c] : -1;
  }
}

template <class T>
__global__ void __launch_bounds__(kBackwardThreads)
    hash_pool_backward_kernel(const HashPoolBackward<T> p, int channel_blocks) {
  const int c = int(blockIdx.x) % channel_blocks * kBackwardThreads + int(threadIdx.x);
  if (c >= p.channels) return;
  const int o = pooled_side(p.side), across = ceil_div(o, kWide);
  const std::int64_t strip = int(blockIdx.x) / channel_blocks, image = strip / across / o;
  const int i = int(strip / across % o), first = int(strip % across) * kWide;
  const float share = widen(p.dpooled[image * p.channels + c]) / float(o * o);
  int own[kWide + 1], below[kWide + 1];
  load_winners(p, image, i, first, c, own);
  load_winners(p, image, i + 1, first, c, below);
  // Window (i, j) covers rows 2i-1 to 2i+1: row 2i is only its, row 2i+1 also that of the next, and
  // so with columns.
#pragma unroll
  for (int k = 0; k < 4 * kWide; ++k) {
    const int odd_row = k / (2 * kWide), y = 2 * i + odd_row;
    const int j = k % (2 * kWide) / 2, odd_column = k % 2, x = 2 * (first + j) + odd_column;
    if (y >= p.side || x >= p.side) continue;
    const int place = 3 * (odd_row + 1) + odd_column + 1;  // in window (i, j)
    float sum = own[j] == place ? share : 0;
    if (odd_column != 0 && own[j + 1] == place - 2) sum += share;
    if (odd_row != 0 && below[j] == place - 6) sum += share;
    if (odd_row != 0 && odd_column != 0 && below[j + 1] == place - 8) sum += share;
    p.dlocal[((image * p.side + y) * p.side + x) * p.channels + c] = narrow<T>(sum);
  }
}

}  // namespace

template <class T>
void run(const HashPoolForward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.images == 0) return;
  const int channel_blocks = ceil_div(p.channels, kWarpSize);
  hash_pool_forward_kernel<T>
      <<<grid_of(std::int64_t{p.images} * channel_blocks), kForwardWarps * kWarpSize, 0, stream>>>(
          p, channel_blocks);
  HH_CHECK_LAUNCH(stream);
}

template <class T>
void run(const HashPoolBackward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.images == 0) return;
  const int channel_blocks = ceil_div(p.channels, kBackwardThreads), o = pooled_side(p.side);
  const std::int64_t strips = std::int64_t{p.images} * o * ceil_div(o, kWide);
  hash_pool_backward_kernel<T>
      <<<grid_of(strips * channel_blocks), kBackwardThreads, 0, stream>>>(p, channel_blocks);
  HH_CHECK_LAUNCH(stream);
}

template void run(const HashPoolForward<float>&, StreamHandle);
template void run(const HashPoolForward<bf16>&, StreamHandle);
template void run(const HashPoolForward<f16>&, StreamHandle);
template void run(const HashPoolBackward<float>&, StreamHandle);
template void run(const HashPoolBackward<bf16>&, StreamHandle);
template void run(const HashPoolBackward<f16>&, StreamHandle);

}  // namespace hh::gpu
