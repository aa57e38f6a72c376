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

/// Turns sums into the normalised map: n = (n - mean) * rstd * gamma + beta.
template <int kItems, int kCount>
__device__ void normalise(const Lane<kItems, kCount>& lane, const float (&gamma)[kItems],
                          const float (&beta)[kItems], float eps, float (&n)[kItems], float* mean,
                          float* rstd) {
  const auto c = float(lane.channels);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kItems; ++i) sum += n[i];
  *mean = warp_sum(sum) / c;
  float squares = 0;
  lane.each_pack([&](int k) {
#pragma unroll
    for (int i = k * kCount; i < (k + 1) * kCount; ++i) squares += (n[i] - *mean) * (n[i] - *mean);
  });
  *rstd = rsqrtf(warp_sum(squares) / c + eps);
#pragma unroll
  for (int i = 0; i < kItems; ++i) n[i] = (n[i] - *mean) * *rstd * gamma[i] + beta[i];
}

/// What a window has seen of a row of pixels: the maxima, and which of the three pixels has each.
template <int kItems>
struct RowMaxima {
  float most[kItems];
  Codes<kItems> winners = 0;

  __device__ RowMaxima() {
#pragma unroll
    for (float& m : most) m = -INFINITY;
  }
  __device__ void see(const float (&n)[kItems], int place) {
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      if (n[i] > most[i]) {  // the first of equals stays
        most[i] = n[i];
        winners = (winners & ~(Codes<kItems>{3} << (2 * i))) | (Codes<kItems>(place) << (2 * i));
      }
    }
  }
  /// The next window's first pixel is this window's last, n.
  __device__ void next_window(const float (&n)[kItems]) {
    winners = 0;
#pragma unroll
    for (int i = 0; i < kItems; ++i) most[i] = n[i];
  }
  __device__ int winner(int i) const { return int(winners >> (2 * i) & 3); }
};

/// Windows of the row under way, in shared memory: the maxima so far and their codes, [windows, C].
/// A lane touches only its own channels.
template <int kItems, int kCount>
struct WindowRow {
  const Lane<kItems, kCount>& lane;
  float* best;
  std::uint8_t* codes;
  using Bytes = Pack<std::uint8_t, kCount>;

  /// Nothing seen: minus infinity, with the code of a window's centre.
  __device__ void clear(int window) const {
    lane.each_pack([&](int k) {
      const int at = window * lane.channels + lane.channel(k);
#pragma unroll
      for (int e = 0; e < kCount; ++e) {
        best[at + e] = -INFINITY;
        codes[at + e] = 4;
      }
    });
  }
  /// Takes a row of pixels: the middle one of the window's three, or the last, which is also the
  /// first of the window below. A last one of a window to be `stored` goes with what came before to
  /// the pixel `at` of out and argmax.
  template <class T>
  __device__ void take(int window, const RowMaxima<kItems>& row, bool middle, bool stored,
                       const InteractionMergeForward<T>& p, std::int64_t at) const {
#pragma unroll
    for (int k = 0; k < lane.kPacks; ++k) {
      const int channel = lane.channel(k);
      if (channel >= lane.channels) continue;
      float* const kept = best + window * lane.channels + channel;
      auto* const kept_codes = reinterpret_cast<Bytes*>(codes + window * lane.channels + channel);
      float b[kCount];
      Bytes code = *kept_codes;
      load_floats(kept, b);
      if (middle || stored) {
#pragma unroll
        for (int e = 0; e < kCount; ++e) {
          const int i = k * kCount + e;
          if (row.most[i] > b[e]) {
            b[e] = row.most[i];
            code.v[e] = std::uint8_t((middle ? 3 : 6) + row.winner(i));
          }
        }
      }
      if (stored) {
        const std::int64_t out = at * lane.channels + channel;
        store_floats(b, p.out + out);
        if (p.argmax != nullptr) *reinterpret_cast<Bytes*>(p.argmax + out) = code;
      }
      if (!middle) {
#pragma unroll
        for (int e = 0; e < kCount; ++e) {
          b[e] = row.most[k * kCount + e];
          code.v[e] = std::uint8_t(row.winner(k * kCount + e));
        }
      }
      store_floats(b, kept);
      *kept_codes = code;
    }
  }
};

// Blocks of an SM that ptxas is to make room for; 0: not said. 16 items in fours miss the room for 4
// by a few registers on sm_90. Of the others some would spill and some take more registers.
constexpr int least_blocks(int items, int count) { return items == 16 && count == 4 ? 4 : 0; }

template <class T, int kItems, int kCount>
__global__ void __launch_bounds__(kMostThreads, least_blocks(kItems, kCount))
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
  const Lane<kItems, kCount> lane(c);
  const WindowRow<kItems, kCount> state{
      lane, glob + grid * grid * c + warp * windows * c,
      reinterpret_cast<std::uint8_t*>(glob + (grid * grid + warps * windows) * c) +
          warp * windows * c};
  float gamma[kItems], beta[kItems];
  lane.load(p.gamma, gamma);
  lane.load(p.beta, beta);
  for (int j = j0; j < j1; ++j) state.clear(j - j0);

  for (int y = max(2 * i0 - 1, 0); y < 2 * i1; ++y) {
    const Tap ty(y, grid, p.shape.factor);
    RowMaxima<kItems> maxima;
    float own_mean = 0, own_rstd = 0;  // of the lane's pixel of the row
    for (int x = max(2 * j0 - 1, 0); x < 2 * j1; ++x) {
      float n[kItems], mean, rstd;
      lane.load(p.local + ((image * side + y) * side + x) * c, n);
      add_upsampled(lane, glob, grid, ty, Tap(x, grid, p.shape.factor), n);
      normalise(lane, gamma, beta, p.eps, n, &mean, &rstd);
      if (x - 2 * j0 == lane.lane) own_mean = mean, own_rstd = rstd;
      maxima.see(n, x % 2 == 0 ? 1 : 2);
      if (x % 2 == 0) continue;
      // The window (x - 1) / 2 has its three pixels of this row.
      const int j = (x - 1) / 2;
      if (j >= j0) {
        const bool even = y % 2 == 0;
        const int i = even ? y / 2 : (y - 1) / 2;  // the row of windows of which y isn't the first
        state.take(j - j0, maxima, even, !even && i >= i0, p, (image * half + i) * half + j);
      }
      maxima.next_window(n);
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
  std::size_t dglob_floats() const { return std::size_t(all_blocks) * std::size_t(map); }
  std::size_t parameter_floats(int channels) const {
    return std::size_t(all_blocks) * 2 * std::size_t(channels);
  }
  int half, warps = kMostWarps;
  int blocks = 0, map = 0;      // per image; channels of the global map
  std::int64_t all_blocks = 0;  // each leaves dglob [m*m, C], and [2, C] for dgamma and dbeta
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

/// A warp of backward: windows and pixels of its pair of rows.
template <class T, int kItems, int kCount>
struct BackwardWarp {
  // Of many channels there are no registers for four windows, the next pixel and the sums: the
  // windows are read again for each of their pixels, and the sums wait in shared memory.
  static constexpr bool kHold = kItems <= (kCount == 1 ? 8 : 16);
  static constexpr int kPacks = kItems / kCount, kHeld = kHold ? kPacks : 1;
  using OfWindow = Window<kCount>;
  using OfPixel = Pixel<T, kItems, kCount>;

  const InteractionMergeBackward<T>& p;
  const Lane<kItems, kCount>& lane;
  std::int64_t image;
  const float *glob, *gamma;  // in shared memory
  float* mine;                // this warp's dglob [m*m, C], dgamma, dbeta
  int grid = p.shape.grid, side = p.shape.side(), half = side / 2;
  float dgamma[kHeld * kCount] = {}, dbeta[kHeld * kCount] = {};  // if kHold

  __device__ float* parameter_sums() const { return mine + grid * grid * lane.channels; }

  /// Adds w * v to a pack of a row of sums.
  __device__ void add(float* row, int k, float w, const float* v) const {
    float sum[kCount];
    load_floats(row + lane.channel(k), sum);
#pragma unroll
    for (int e = 0; e < kCount; ++e) sum[e] = fmaf(w, v[e], sum[e]);
    store_floats(sum, row + lane.channel(k));
  }

  __device__ OfWindow load_window(int i, int j, int k) const {
    OfWindow w;
    if (i >= half || j >= half || lane.channel(k) >= lane.channels) return w;
    const std::int64_t at = ((image * half + i) * half + j) * lane.channels + lane.channel(k);
    load_floats(p.dout + at, w.d);
    const auto code = *reinterpret_cast<const Pack<std::uint8_t, kCount>*>(p.argmax + at);
    w.winners = 0;
#pragma unroll
    for (int e = 0; e < kCount; ++e) w.winners |= unsigned{code.v[e]} << 8 * e;
    return w;
  }

  __device__ OfPixel load_pixel(int y, int x) const {
    OfPixel pixel;
    if (x >= side) return pixel;
    const T* const local = p.local + ((image * side + y) * side + x) * lane.channels;
    lane.each_pack([&](int k) {
      pixel.v[k] = *reinterpret_cast<const Pack<T, kCount>*>(local + lane.channel(k));
    });
    return pixel;
  }

  /// Adds to dgamma and dbeta what a pack of a pixel gives.
  __device__ void add_parameters(int k, const float (&dn)[kItems], const float (&product)[kCount]) {
    if constexpr (kHold) {
#pragma unroll
      for (int e = 0; e < kCount; ++e) {
        dgamma[k * kCount + e] += product[e];
        dbeta[k * kCount + e] += dn[k * kCount + e];
      }
    } else {
      add(parameter_sums(), k, 1, product);
      add(parameter_sums() + lane.channels, k, 1, dn + k * kCount);
    }
  }

  /// From dn, the gradient of the normalised pixel: dlocal, and its share of all sums.
  __device__ void finish_pixel(int y, int x, const OfPixel& pixel, float mean, float rstd,
                               float (&dn)[kItems]) {
    const Tap ty(y, grid, p.shape.factor), tx(x, grid, p.shape.factor);
    const int c = lane.channels;
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
      }
      add_parameters(k, dn, product);
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
  }

  /// The middles and rights of the windows of row i.
  __device__ void windows_of_row(int i) {
    // (i, j), (i, j + 1), (i + 1, j), (i + 1, j + 1)
    OfWindow here[kHeld], right[kHeld], below[kHeld], corner[kHeld];
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
    OfPixel next;
    if constexpr (kHold) next = pixel_at(0);
#pragma unroll 1
    for (int n = 0; n < 4 * half; ++n) {
      const int j = n / 4, u = n / 2 % 2, v = n % 2;
      if (n % kWarpSize == 0 && n + lane.lane < 4 * half) {
        const std::int64_t own = (image * side + y_of(n + lane.lane)) * side + x_of(n + lane.lane);
        own_mean = p.mean[own];
        own_rstd = p.rstd[own];
      }
      const OfPixel pixel = kHold ? next : pixel_at(n);
      if constexpr (kHold) {
        next = pixel_at(n + 1);
        if (n % 4 == 0) hold(j);
      }
      float dn[kItems] = {};
      const auto take = [&](const OfWindow(&held)[kHeld], int down, int along, int place) {
#pragma unroll
        for (int k = 0; k < kPacks; ++k) {
          const OfWindow w = kHold ? held[k % kHeld] : load_window(i + down, j + along, k);
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
};

template <class T, int kItems, int kCount>
__global__ void __launch_bounds__(kMostThreads, 2)  // what shared memory has room for
    interaction_merge_backward_kernel(const InteractionMergeBackward<T> p, float* dglob_partials,
                                      float* parameter_partials, const std::int64_t first_image) {
  extern __shared__ float4 memory[];
  const int c = p.shape.channels;
  const int map = p.shape.grid * p.shape.grid * c, sums = map + 2 * c;
  float* const glob = reinterpret_cast<float*>(memory);
  float* const gamma = glob + map;
  const std::int64_t image = first_image + blockIdx.y;
  for (int i = threadIdx.x; i < c; i += blockDim.x) gamma[i] = p.gamma[i];
  load_map(p.glob + image * map, map, glob);
  const int warps = int(blockDim.x) / kWarpSize, warp = int(threadIdx.x) / kWarpSize;
  float* const all_sums = gamma + c;
  float* const mine = all_sums + warp * sums;
  const Lane<kItems, kCount> lane(c);
  for (int i = lane.lane; i < sums; i += kWarpSize) mine[i] = 0;
  __syncwarp();
  BackwardWarp<T, kItems, kCount> own{p, lane, image, glob, gamma, mine};
  const int i = int(blockIdx.x) * warps + warp;
  if (i < own.half) own.windows_of_row(i);
  if constexpr (own.kHold) {
    lane.store(own.dgamma, mine + map);
    lane.store(own.dbeta, mine + map + c);
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
std::size_t partial_sums_bytes(const InteractionMergeBackward<T>& p) {
  return BackwardCut(p.shape).parameter_floats(p.shape.channels) * sizeof(float);
}
template <class T>
std::size_t workspace_bytes(const InteractionMergeBackward<T>& p) {
  return BackwardCut(p.shape).dglob_floats() * sizeof(float) +
         (p.left != nullptr ? 0 : partial_sums_bytes(p));
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
  float* const parameter_partials = rows_of_sums(p.left, dglob_partials + cut.dglob_floats());
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
  finish_sums({.rows = parameter_partials,
               .count = cut.all_blocks,
               .arrays = 2,
               .cols = p.shape.channels,
               .to = {p.dgamma, p.dbeta}},
              p.left, stream);
}

template std::size_t workspace_bytes(const InteractionMergeForward<float>&);
template std::size_t workspace_bytes(const InteractionMergeForward<bf16>&);
template std::size_t workspace_bytes(const InteractionMergeForward<f16>&);
template std::size_t workspace_bytes(const InteractionMergeBackward<float>&);
template std::size_t partial_sums_bytes(const InteractionMergeBackward<float>&);
template std::size_t workspace_bytes(const InteractionMergeBackward<bf16>&);
template std::size_t partial_sums_bytes(const InteractionMergeBackward<bf16>&);
template std::size_t workspace_bytes(const InteractionMergeBackward<f16>&);
template std::size_t partial_sums_bytes(const InteractionMergeBackward<f16>&);
template void run(const InteractionMergeForward<float>&, StreamHandle);
template void run(const InteractionMergeForward<bf16>&, StreamHandle);
template void run(const InteractionMergeForward<f16>&, StreamHandle);
template void run(const InteractionMergeBackward<float>&, StreamHandle);
template void run(const InteractionMergeBackward<bf16>&, StreamHandle);
template void run(const InteractionMergeBackward<f16>&, StreamHandle);

}  // namespace hh::gpu
