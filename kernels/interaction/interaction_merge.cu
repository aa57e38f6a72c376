// SPDX-License-Identifier: Apache-2.0
// Mapping   Forward: a warp walks the pixels under seven windows of a row of windows, for four
//           rows of windows; it holds a pixel's channels in registers. The maximum is taken along
//           the row first (in registers), then down the rows (in shared memory, where a lane
//           touches only its own channels). Backward: a warp takes a pair of rows, with the four
//           windows that cover a window's middle and right in registers, and adds up dglob in
//           shared memory of its own.
// Traffic   forward reads local 15/14 times along and 9/8 down, and writes out and argmax once;
//           backward reads local once, dout and argmax twice (they are a quarter as large) and
//           writes dlocal once. With more than 512 channels it reads dout and argmax nine times.
//           The global map lies in shared memory.
// Numerics  float32; the variance is the mean squared deviation. Partial sums of dglob, dgamma and
//           dbeta are added in an order fixed by the sizes.
#include <algorithm>
#include <type_traits>

#include "kernels/core/column_sum.cuh"
#include "kernels/interaction/interaction_merge.h"
#include "kernels/interaction/merge_row.cuh"

namespace hh::gpu {
namespace {

constexpr int kMostWarps = 4, kMostThreads = kMostWarps * kWarpSize;
constexpr int kWindows = 7;  // of a warp along a row: divides the paper's 28 and 14
constexpr int kRows = 4;     // of windows in a block: fewer read more of local twice
static_assert(2 * kWindows <= kWarpSize, "a lane keeps the statistics of a pixel of the row");

/// How forward cuts an image into blocks.
struct ForwardCut {
  explicit ForwardCut(const InteractionMergeShape& s)
      : half(s.side() / 2), windows(std::min(kWindows, half)) {
    warps = std::min(kMostWarps, ceil_div(half, windows));
    while (warps > 1 && shared(s) > kMergeShared) warps /= 2;
    while (windows > 1 && shared(s) > kMergeShared) --windows;
    HH_PRECONDITION(shared(s) <= kMergeShared, "interaction_merge: a map of grid = "
                                                   << s.grid << " with channels = " << s.channels
                                                   << " is too large for the GPU's shared memory");
  }
  std::size_t shared(const InteractionMergeShape& s) const {
    const std::size_t state = std::size_t(warps) * std::size_t(windows);
    return (std::size_t(s.grid) * std::size_t(s.grid) * sizeof(float) +
            state * (sizeof(float) + 1)) *
           std::size_t(s.channels);
  }
  int half, windows, warps;
};

/// Two bits per item: which of three neighbours won.
template <int kItems>
using Codes = std::conditional_t<(kItems <= 16), unsigned, unsigned long long>;

template <class T, int kItems, int kCount>
__global__ void __launch_bounds__(kMostThreads)
    interaction_merge_forward_kernel(const InteractionMergeForward<T> p, const int windows,
                                     const std::int64_t first_image) {
  extern __shared__ float4 memory[];
  const int c = p.shape.channels, grid = p.shape.grid, side = p.shape.side(), half = side / 2;
  float* const glob = reinterpret_cast<float*>(memory);
  const std::int64_t image = first_image + blockIdx.z;
  load_map(p.glob + image * grid * grid * c, grid * grid * c, glob);

  const int warps = int(blockDim.x) / kWarpSize, warp = int(threadIdx.x) / kWarpSize;
  const int j0 = (int(blockIdx.y) * warps + warp) * windows, j1 = min(j0 + windows, half);
  const int i0 = int(blockIdx.x) * kRows, i1 = min(i0 + kRows, half);
  if (j0 >= half) return;  // a warp leaves whole
  float* const best = glob + grid * grid * c + warp * windows * c;
  auto* const codes = reinterpret_cast<std::uint8_t*>(glob + (grid * grid + warps * windows) * c) +
                      warp * windows * c;
  const Lane<kItems, kCount> lane(c);
  float gamma[kItems], beta[kItems];
  lane.load(p.gamma, gamma);
  lane.load(p.beta, beta);

  // Rows of the windows' state: what the row of windows under way has seen so far.
  const auto clear = [&](int j) {
#pragma unroll
    for (int k = 0; k < lane.kPacks; ++k) {
      if (lane.channel(k) >= c) continue;
#pragma unroll
      for (int e = 0; e < kCount; ++e) {
        best[(j - j0) * c + lane.channel(k) + e] = -INFINITY;
        codes[(j - j0) * c + lane.channel(k) + e] = 4;
      }
    }
  };
  for (int j = j0; j < j1; ++j) clear(j);

  for (int y = max(2 * i0 - 1, 0); y < 2 * i1; ++y) {
    const Tap ty(y, grid, p.shape.factor);
    float most[kItems];
    Codes<kItems> winners = 0;
    float own_mean = 0, own_rstd = 0;  // of the lane's pixel of the row
#pragma unroll
    for (int i = 0; i < kItems; ++i) most[i] = -INFINITY;
    for (int x = max(2 * j0 - 1, 0); x < 2 * j1; ++x) {
      const std::int64_t pixel = (image * side + y) * side + x;
      float n[kItems];
      lane.load(p.local + pixel * c, n);
      add_upsampled(lane, glob, grid, ty, Tap(x, grid, p.shape.factor), n);
      float sum = 0;
#pragma unroll
      for (int i = 0; i < kItems; ++i) sum += n[i];
      const float mean = warp_sum(sum) / float(c);
      float squares = 0;
      lane.each_pack([&](int k) {
#pragma unroll
        for (int i = k * kCount; i < (k + 1) * kCount; ++i) {
          squares += (n[i] - mean) * (n[i] - mean);
        }
      });
      const float rstd = rsqrtf(warp_sum(squares) / float(c) + p.eps);
      if (x - 2 * j0 == lane.lane) own_mean = mean, own_rstd = rstd;
      const int v = x % 2 == 0 ? 1 : 2;
#pragma unroll
      for (int i = 0; i < kItems; ++i) {
        n[i] = (n[i] - mean) * rstd * gamma[i] + beta[i];
        if (n[i] > most[i]) {  // the first of equals stays
          most[i] = n[i];
          winners = (winners & ~(Codes<kItems>{3} << (2 * i))) | (Codes<kItems>(v) << (2 * i));
        }
      }
      if (x % 2 == 0) continue;

      // The window (x - 1) / 2 has its three pixels of this row.
      const int j = (x - 1) / 2;
      if (j >= j0) {
        const bool even = y % 2 == 0;
        const int row = even ? y / 2 : (y - 1) / 2;  // of windows, for which u is 1 or 2
        const bool last = !even && row >= i0;        // its third pixel row
#pragma unroll
        for (int k = 0; k < lane.kPacks; ++k) {
          const int channel = lane.channel(k);
          if (channel >= c) continue;
          using Bytes = Pack<std::uint8_t, kCount>;
          float* const kept = best + (j - j0) * c + channel;
          auto* const kept_codes = reinterpret_cast<Bytes*>(codes + (j - j0) * c + channel);
          float b[kCount];
          Bytes code = *kept_codes;
          load_floats(kept, b);
          if (even || last) {
#pragma unroll
            for (int e = 0; e < kCount; ++e) {
              const int i = k * kCount + e;
              if (most[i] > b[e]) {
                b[e] = most[i];
                code.v[e] = std::uint8_t((even ? 3 : 6) + int(winners >> (2 * i) & 3));
              }
            }
          }
          if (last) {
            const std::int64_t out = ((image * half + row) * half + j) * c + channel;
            store_floats(b, p.out + out);
            if (p.argmax != nullptr) *reinterpret_cast<Bytes*>(p.argmax + out) = code;
          }
          if (!even) {  // the first pixel row of the windows below
#pragma unroll
            for (int e = 0; e < kCount; ++e) {
              const int i = k * kCount + e;
              b[e] = most[i];
              code.v[e] = std::uint8_t(winners >> (2 * i) & 3);
            }
          }
          store_floats(b, kept);
          *kept_codes = code;
        }
      }
      // It is also the first pixel of the next window.
      winners = 0;
#pragma unroll
      for (int i = 0; i < kItems; ++i) most[i] = n[i];
    }
    if (p.mean != nullptr && y >= 2 * i0 && lane.lane < 2 * (j1 - j0)) {
      const std::int64_t own = (image * side + y) * side + 2 * j0 + lane.lane;
      p.mean[own] = own_mean;
      p.rstd[own] = own_rstd;
    }
  }
}

/// How backward cuts an image into blocks, and what each leaves in the workspace.
struct BackwardCut {
  explicit BackwardCut(const InteractionMergeShape& s) : half(s.side() / 2) {
    while (warps > 1 && shared(s) > kMergeShared) warps /= 2;
    HH_PRECONDITION(shared(s) <= kMergeShared, "interaction_merge: a map of grid = "
                                                   << s.grid << " with channels = " << s.channels
                                                   << " is too large for the GPU's shared memory");
    blocks = ceil_div(half, warps);
    map = s.grid * s.grid * s.channels;
    all_blocks = std::int64_t{s.images} * blocks;
  }
  std::size_t shared(const InteractionMergeShape& s) const {
    const std::size_t map = std::size_t(s.grid) * std::size_t(s.grid);
    return (map + 1 + std::size_t(warps) * (map + 2)) * std::size_t(s.channels) * sizeof(float);
  }
  std::size_t floats(int channels) const {
    return std::size_t(all_blocks) * (std::size_t(map) + 2 * std::size_t(channels));
  }
  int half, warps = kMostWarps;
  int blocks = 0, map = 0;      // per image; channels of the global map
  std::int64_t all_blocks = 0;  // each leaves dglob [m*m, C], and behind all of those [2, C] for
                                // dgamma and dbeta
};

/// A pack of channels of a pooling window: the gradient and who gets it, a byte each.
template <int kCount>
struct Window {
  float d[kCount] = {};
  unsigned winners = ~0u;

  /// Adds what the pixel at a place of the window, 3 * u + v, gets.
  __device__ void give(int place, float* dn) const {
    const unsigned all = unsigned(place) * 0x01010101u;
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      if (((winners ^ all) & 0xffu << 8 * e) == 0) dn[e] += d[e];
    }
  }
};

/// A lane's channels of a pixel of local.
template <class T, int kItems, int kCount>
struct Pixel {
  Pack<T, kCount> v[kItems / kCount] = {};
};

template <class T, int kItems, int kCount>
__global__ void __launch_bounds__(kMostThreads, 2)  // what shared memory has room for
    interaction_merge_backward_kernel(const InteractionMergeBackward<T> p, float* dglob_partials,
                                      float* parameter_partials, const std::int64_t first_image) {
  // Of many channels there are no registers for four windows, the next pixel and the sums: the
  // windows are read again for each of their pixels, and the sums wait in shared memory.
  constexpr bool kHold = kItems <= (kCount == 1 ? 8 : 16);
  constexpr int kPacks = kItems / kCount, kHeld = kHold ? kPacks : 1;
  extern __shared__ float4 memory[];
  const int c = p.shape.channels, grid = p.shape.grid, side = p.shape.side(), half = side / 2;
  const int map = grid * grid * c, sums = map + 2 * c;
  float* const glob = reinterpret_cast<float*>(memory);
  float* const gamma = glob + map;
  const std::int64_t image = first_image + blockIdx.y;
  for (int i = threadIdx.x; i < c; i += blockDim.x) gamma[i] = p.gamma[i];
  load_map(p.glob + image * map, map, glob);
  const int warps = int(blockDim.x) / kWarpSize, warp = int(threadIdx.x) / kWarpSize;
  float* const all_sums = gamma + c;
  float* const mine = all_sums + warp * sums;  // this warp's dglob, dgamma, dbeta
  const Lane<kItems, kCount> lane(c);
  for (int i = lane.lane; i < sums; i += kWarpSize) mine[i] = 0;
  __syncwarp();
  float dgamma[kHeld * kCount] = {}, dbeta[kHeld * kCount] = {};
  // Adds w * v to a pack of a row of sums.
  const auto add = [&](float* row, int k, float w, const float* v) {
    float sum[kCount];
    load_floats(row + lane.channel(k), sum);
#pragma unroll
    for (int e = 0; e < kCount; ++e) sum[e] = fmaf(w, v[e], sum[e]);
    store_floats(sum, row + lane.channel(k));
  };

  const auto load_window = [&](int i, int j, int k) {
    Window<kCount> w;
    if (i >= half || j >= half || lane.channel(k) >= c) return w;
    const std::int64_t at = ((image * half + i) * half + j) * c + lane.channel(k);
    load_floats(p.dout + at, w.d);
    const auto code = *reinterpret_cast<const Pack<std::uint8_t, kCount>*>(p.argmax + at);
    w.winners = 0;
#pragma unroll
    for (int e = 0; e < kCount; ++e) w.winners |= unsigned{code.v[e]} << 8 * e;
    return w;
  };
  const auto load_pixel = [&](int y, int x) {
    Pixel<T, kItems, kCount> pixel;
    if (x >= side) return pixel;
    const T* const local = p.local + ((image * side + y) * side + x) * c;
    lane.each_pack([&](int k) {
      pixel.v[k] = *reinterpret_cast<const Pack<T, kCount>*>(local + lane.channel(k));
    });
    return pixel;
  };
  const auto finish_pixel = [&](int y, int x, const Pixel<T, kItems, kCount>& pixel, float mean,
                                float rstd, float(&dn)[kItems]) {
    const Tap ty(y, grid, p.shape.factor), tx(x, grid, p.shape.factor);
    float v[kItems];  // first the sum, then xhat, then dsum
#pragma unroll
    for (int i = 0; i < kItems; ++i) v[i] = pixel.v[i / kCount].get(i % kCount);
    add_upsampled(lane, glob, grid, ty, tx, v);
    float g_sum = 0, gx_sum = 0;
    lane.each_pack([&](int k) {
      float weight[kCount], product[kCount];
      load_floats(gamma + lane.channel(k), weight);
#pragma unroll
      for (int e = 0; e < kCount; ++e) {
        const int i = k * kCount + e;
        v[i] = (v[i] - mean) * rstd;
        product[e] = dn[i] * v[i];
        if constexpr (kHold) {
          dgamma[i] += product[e];
          dbeta[i] += dn[i];
        }
      }
      if constexpr (!kHold) {
        add(mine + map, k, 1, product);
        add(mine + map + c, k, 1, dn + k * kCount);
      }
#pragma unroll
      for (int e = 0; e < kCount; ++e) {
        dn[k * kCount + e] *= weight[e];
        g_sum += dn[k * kCount + e];
        gx_sum += weight[e] * product[e];
      }
    });
    g_sum = warp_sum(g_sum) / float(c);
    gx_sum = warp_sum(gx_sum) / float(c);
#pragma unroll
    for (int i = 0; i < kItems; ++i) v[i] = rstd * (dn[i] - g_sum - v[i] * gx_sum);
    lane.store(v, p.dlocal + ((image * side + y) * side + x) * c);
    lane.each_pack([&](int k) {
      const float* const dsum = v + k * kCount;
      add(mine + (ty.first * grid + tx.first) * c, k, ty.w0 * tx.w0, dsum);
      add(mine + (ty.first * grid + tx.second) * c, k, ty.w0 * tx.w1, dsum);
      add(mine + (ty.second * grid + tx.first) * c, k, ty.w1 * tx.w0, dsum);
      add(mine + (ty.second * grid + tx.second) * c, k, ty.w1 * tx.w1, dsum);
    });
  };

  const int i = int(blockIdx.x) * warps + warp;
  if (i < half) {
    // (i, j), (i, j + 1), (i + 1, j), (i + 1, j + 1)
    Window<kCount> here[kHeld], right[kHeld], below[kHeld], corner[kHeld];
    const auto hold = [&](int j) {
#pragma unroll
      for (int k = 0; k < kHeld; ++k) {
        here[k] = right[k], below[k] = corner[k];
        right[k] = load_window(i, j + 1, k), corner[k] = load_window(i + 1, j + 1, k);
      }
    };
    if constexpr (kHold) hold(-1);
    // A window's middle and right are four pixels, row by row; all in one loop, since the code for
    // a pixel is long.
    const auto y_of = [&](int n) { return 2 * i + n / 2 % 2; };
    const auto x_of = [&](int n) { return n / 4 * 2 + n % 2; };
    const auto pixel_at = [&](int n) { return load_pixel(y_of(n), x_of(n)); };
    float own_mean = 0, own_rstd = 0;  // of the lane's of 32 pixels
    Pixel<T, kItems, kCount> next;
    if constexpr (kHold) next = pixel_at(0);
#pragma unroll 1
    for (int n = 0; n < 4 * half; ++n) {
      const int j = n / 4, u = n / 2 % 2, v = n % 2;
      if (n % kWarpSize == 0 && n + lane.lane < 4 * half) {
        const std::int64_t own = (image * side + y_of(n + lane.lane)) * side + x_of(n + lane.lane);
        own_mean = p.mean[own];
        own_rstd = p.rstd[own];
      }
      const Pixel<T, kItems, kCount> pixel = kHold ? next : pixel_at(n);
      if constexpr (kHold) {
        next = pixel_at(n + 1);
        if (n % 4 == 0) hold(j);
      }
      float dn[kItems] = {};
      const auto take = [&](const Window<kCount>(&held)[kHeld], int down, int along, int place) {
#pragma unroll
        for (int k = 0; k < kPacks; ++k) {
          const Window<kCount> w = kHold ? held[k % kHeld] : load_window(i + down, j + along, k);
          w.give(place, dn + k * kCount);
        }
      };
      take(here, 0, 0, 4 + 3 * u + v);
      if (v == 1) take(right, 0, 1, 3 + 3 * u);
      if (u == 1) take(below, 1, 0, 1 + v);
      if (u == 1 && v == 1) take(corner, 1, 1, 0);
      finish_pixel(y_of(n), x_of(n), pixel, __shfl_sync(kFullMask, own_mean, n % kWarpSize),
                   __shfl_sync(kFullMask, own_rstd, n % kWarpSize), dn);
    }
  }
  if constexpr (kHold) {
    lane.store(dgamma, mine + map);
    lane.store(dbeta, mine + map + c);
  }
  __syncthreads();
  const std::int64_t block = image * gridDim.x + blockIdx.x;
  for (int k = threadIdx.x; k < sums; k += blockDim.x) {
    float sum = 0;
    for (int w = 0; w < warps; ++w) sum += all_sums[w * sums + k];
    *(k < map ? dglob_partials + block * map + k : parameter_partials + block * 2 * c + k - map) =
        sum;
  }
}

constexpr int kSumThreads = 128;

/// dglob [B, map] from the partial sums of each image's blocks.
template <class T>
__global__ void __launch_bounds__(kSumThreads)
    interaction_merge_dglob_kernel(const float* partials, int blocks, int map, T* dglob,
                                   const std::int64_t first_image) {
  const int i = int(blockIdx.x) * kSumThreads + int(threadIdx.x);
  if (i >= map) return;
  const std::int64_t image = first_image + blockIdx.y;
  float sum = 0;
  for (int b = 0; b < blocks; ++b) sum += partials[(image * blocks + b) * map + i];
  dglob[image * map + i] = narrow<T>(sum);
}

template <class Kernel>
void allow_shared(Kernel* kernel, std::size_t bytes) {
  HH_CUDA_CHECK(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)));
}

}  // namespace

template <class T>
std::size_t workspace_bytes(const InteractionMergeForward<T>&) {
  return 0;
}

template <class T>
std::size_t workspace_bytes(const InteractionMergeBackward<T>& p) {
  return BackwardCut(p.shape).floats(p.shape.channels) * sizeof(float);
}

template <class T>
void run(const InteractionMergeForward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.shape.images == 0) return;
  const bool vectors = aligned16(p.local) && aligned16(p.out) && aligned16(p.argmax) &&
                       aligned16(p.gamma) && aligned16(p.beta);
  with_merge_sizes(p.shape, vectors, [&](auto items, auto count) {
    const ForwardCut cut(p.shape);
    const auto kernel = interaction_merge_forward_kernel<T, items.value, count.value>;
    allow_shared(kernel, cut.shared(p.shape));
    in_grid_parts(p.shape.images, [&](std::int64_t first, std::int64_t images) {
      const dim3 grid =
          grid_of(ceil_div(cut.half, kRows), ceil_div(cut.half, cut.windows * cut.warps), images);
      kernel<<<grid, unsigned(cut.warps * kWarpSize), cut.shared(p.shape), stream>>>(p, cut.windows,
                                                                                     first);
    });
  });
  HH_CHECK_LAUNCH(stream);
}

template <class T>
void run(const InteractionMergeBackward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.shape.images == 0) return;
  const BackwardCut cut(p.shape);
  auto* const dglob_partials = static_cast<float*>(p.workspace);
  float* const parameter_partials = dglob_partials + cut.all_blocks * cut.map;
  const bool vectors = aligned16(p.local) && aligned16(p.dlocal) && aligned16(p.dout) &&
                       aligned16(p.argmax) && aligned16(p.gamma);
  with_merge_sizes(p.shape, vectors, [&](auto items, auto count) {
    const auto kernel = interaction_merge_backward_kernel<T, items.value, count.value>;
    allow_shared(kernel, cut.shared(p.shape));
    in_grid_parts(p.shape.images, [&](std::int64_t first, std::int64_t images) {
      kernel<<<grid_of(cut.blocks, images), unsigned(cut.warps * kWarpSize), cut.shared(p.shape),
               stream>>>(p, dglob_partials, parameter_partials, first);
    });
  });
  HH_CHECK_LAUNCH(stream);
  in_grid_parts(p.shape.images, [&](std::int64_t first, std::int64_t images) {
    interaction_merge_dglob_kernel<<<grid_of(ceil_div(cut.map, kSumThreads), images), kSumThreads,
                                     0, stream>>>(dglob_partials, cut.blocks, cut.map, p.dglob,
                                                  first);
  });
  HH_CHECK_LAUNCH(stream);
  add_column_sums<2>({.partials = parameter_partials,
                      .blocks = cut.all_blocks,
                      .cols = p.shape.channels,
                      .to = {p.dgamma, p.dbeta}},
                     stream);
}

template std::size_t workspace_bytes(const InteractionMergeForward<float>&);
template std::size_t workspace_bytes(const InteractionMergeForward<bf16>&);
template std::size_t workspace_bytes(const InteractionMergeForward<f16>&);
template std::size_t workspace_bytes(const InteractionMergeBackward<float>&);
template std::size_t workspace_bytes(const InteractionMergeBackward<bf16>&);
template std::size_t workspace_bytes(const InteractionMergeBackward<f16>&);
template void run(const InteractionMergeForward<float>&, StreamHandle);
template void run(const InteractionMergeForward<bf16>&, StreamHandle);
template void run(const InteractionMergeForward<f16>&, StreamHandle);
template void run(const InteractionMergeBackward<float>&, StreamHandle);
template void run(const InteractionMergeBackward<bf16>&, StreamHandle);
template void run(const InteractionMergeBackward<f16>&, StreamHandle);

}  // namespace hh::gpu
