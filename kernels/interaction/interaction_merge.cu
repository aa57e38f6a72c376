// Mapping   Forward: a warp walks the pixels under seven windows of a row of windows, for seven
// rows of
//           windows; it holds a pixel's channels in registers. The maximum is taken along the row
//           first (in registers), then down the rows (in shared memory, where a lane touches only
//           its own channels). Backward: a warp walks a pair of rows, two pixels at a time, with
//           the four windows that cover them in registers, and adds up dglob in shared memory of
//           its own.
// Traffic   forward reads local 15/14 times on each axis and writes out and argmax once; backward
// reads
//           local once, dout and argmax twice (they are a quarter as large) and writes dlocal once.
//           The global map lies in shared memory.
// Numerics  float32; the variance is the mean squared deviation. Partial sums of dglob, dgamma and
//           dbeta are added in an order fixed by the sizes.
#include <algorithm>
#include <type_traits>

#include "kernels/interaction/interaction_merge.h"
#include "kernels/interaction/merge_row.cuh"

namespace hh::gpu {
namespace {

constexpr int kMostWarps = 4, kMostThreads = kMostWarps * kWarpSize;
constexpr int kWindows =
    7;  // per warp along a row, and rows per block: divides the paper's 28 and 14

/// How forward cuts an image into blocks.
struct ForwardCut {
  explicit ForwardCut(const InteractionMergeShape& s)
      : half(s.side() / 2), windows(std::min(kWindows, half)) {
    warps = std::min(kMostWarps, ceil_div(half, windows));
    while (warps > 1 && shared(s) > kMergeShared) warps /= 2;
    while (windows > 1 && shared(s) > kMergeShared) --windows;
    HH_REQUIRE(shared(s) <= kMergeShared, "interaction_merge: a map of grid = "
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
    interaction_merge_forward_kernel(const InteractionMergeForward<T> p, const int windows) {
  extern __shared__ float4 memory[];
  const int c = p.shape.channels, grid = p.shape.grid, side = p.shape.side(), half = side / 2;
  float* const glob = reinterpret_cast<float*>(memory);
  const std::int64_t image = blockIdx.z;
  load_map(p.glob + image * grid * grid * c, grid * grid * c, glob);

  const int warps = int(blockDim.x) / kWarpSize, warp = int(threadIdx.x) / kWarpSize;
  const int j0 = (int(blockIdx.y) * warps + warp) * windows, j1 = min(j0 + windows, half);
  const int i0 = int(blockIdx.x) * kWindows, i1 = min(i0 + kWindows, half);
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
#pragma unroll
    for (int i = 0; i < kItems; ++i) most[i] = -INFINITY;
    for (int x = max(2 * j0 - 1, 0); x < 2 * j1; ++x) {
      const std::int64_t pixel = (image * side + y) * side + x;
      float n[kItems];
      merged_pixel(lane, p.local + pixel * c, glob, grid, ty, Tap(x, grid, p.shape.factor), n);
      float sum = 0;
#pragma unroll
      for (int i = 0; i < kItems; ++i) sum += n[i];
      const float mean = warp_sum(sum) / float(c);
      float squares = 0;
      lane.each([&](int i) { squares += (n[i] - mean) * (n[i] - mean); });
      const float rstd = rsqrtf(warp_sum(squares) / float(c) + p.eps);
      if (p.mean != nullptr && lane.lane == 0 && y >= 2 * i0 && x >= 2 * j0) {
        p.mean[pixel] = mean;
        p.rstd[pixel] = rstd;
      }
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
  }
}

/// How backward cuts an image into blocks, and what each leaves in the workspace.
struct BackwardCut {
  explicit BackwardCut(const InteractionMergeShape& s) : half(s.side() / 2) {
    while (warps > 1 && shared(s) > kMergeShared) warps /= 2;
    HH_REQUIRE(shared(s) <= kMergeShared, "interaction_merge: a map of grid = "
                                              << s.grid << " with channels = " << s.channels
                                              << " is too large for the GPU's shared memory");
    blocks = ceil_div(half, warps * kRows);
    sums = (s.grid * s.grid + 2) * s.channels;
  }
  std::size_t shared(const InteractionMergeShape& s) const {
    const std::size_t map = std::size_t(s.grid) * std::size_t(s.grid);
    return (map + std::size_t(warps) * (map + 2)) * std::size_t(s.channels) * sizeof(float);
  }
  static constexpr int kRows = 4;  // pairs of rows per warp: a guess
  int half, warps = kMostWarps, blocks = 0;
  int sums = 0;  // floats per block: dglob [m*m, C], dgamma [C], dbeta [C]
};

/// A pooling window's gradient and who gets it.
template <int kItems>
struct Window {
  float d[kItems];
  std::uint8_t winner[kItems];
};

template <class T, int kItems, int kCount>
__global__ void __launch_bounds__(kMostThreads)
    interaction_merge_backward_kernel(const InteractionMergeBackward<T> p, const int sums,
                                      float* partials) {
  extern __shared__ float4 memory[];
  const int c = p.shape.channels, grid = p.shape.grid, side = p.shape.side(), half = side / 2;
  const int map = grid * grid * c;
  float* const glob = reinterpret_cast<float*>(memory);
  const std::int64_t image = blockIdx.y;
  load_map(p.glob + image * map, map, glob);
  const int warps = int(blockDim.x) / kWarpSize, warp = int(threadIdx.x) / kWarpSize;
  float* const mine = glob + map + warp * sums;  // this warp's dglob, dgamma, dbeta
  const Lane<kItems, kCount> lane(c);
  for (int i = lane.lane; i < sums; i += kWarpSize) mine[i] = 0;
  __syncwarp();
  float gamma[kItems], dgamma[kItems] = {}, dbeta[kItems] = {};
  lane.load(p.gamma, gamma);

  const auto window = [&](int i, int j) {
    Window<kItems> w;
    const bool inside = i < half && j < half;
    const std::int64_t at = ((image * half + i) * half + j) * c;
#pragma unroll
    for (int k = 0; k < lane.kPacks; ++k) {
      float d[kCount] = {};
      Pack<std::uint8_t, kCount> code{};
      if (inside && lane.channel(k) < c) {
        load_floats(p.dout + at + lane.channel(k), d);
        code =
            *reinterpret_cast<const Pack<std::uint8_t, kCount>*>(p.argmax + at + lane.channel(k));
      }
#pragma unroll
      for (int e = 0; e < kCount; ++e) {
        w.d[k * kCount + e] = d[e];
        w.winner[k * kCount + e] = code.v[e];
      }
    }
    return w;
  };
  const auto take = [](const Window<kItems>& w, int code, float(&dn)[kItems]) {
#pragma unroll
    for (int i = 0; i < kItems; ++i) dn[i] += w.winner[i] == code ? w.d[i] : 0.0f;
  };
  const auto pixel = [&](int y, int x, const float(&dn)[kItems]) {
    const std::int64_t at = (image * side + y) * side + x;
    const Tap ty(y, grid, p.shape.factor), tx(x, grid, p.shape.factor);
    const float mean = p.mean[at], rstd = p.rstd[at];
    float v[kItems];
    merged_pixel(lane, p.local + at * c, glob, grid, ty, tx, v);
    float g_sum = 0, gx_sum = 0;
    lane.each([&](int i) {
      v[i] = (v[i] - mean) * rstd;
      dgamma[i] += dn[i] * v[i];
      dbeta[i] += dn[i];
      g_sum += dn[i] * gamma[i];
      gx_sum += dn[i] * gamma[i] * v[i];
    });
    g_sum = warp_sum(g_sum) / float(c);
    gx_sum = warp_sum(gx_sum) / float(c);
#pragma unroll
    for (int i = 0; i < kItems; ++i) v[i] = rstd * (dn[i] * gamma[i] - g_sum - v[i] * gx_sum);
    lane.store(v, p.dlocal + at * c);
    const auto add = [&](int row, int column, float w) {
      float* const to = mine + (row * grid + column) * c;
      float g[kItems];
      lane.load(to, g);
#pragma unroll
      for (int i = 0; i < kItems; ++i) g[i] = fmaf(w, v[i], g[i]);
      lane.store(g, to);
    };
    add(ty.first, tx.first, ty.w0 * tx.w0);
    add(ty.first, tx.second, ty.w0 * tx.w1);
    add(ty.second, tx.first, ty.w1 * tx.w0);
    add(ty.second, tx.second, ty.w1 * tx.w1);
  };

  for (int r = 0; r < BackwardCut::kRows; ++r) {
    const int i = (int(blockIdx.x) * BackwardCut::kRows + r) * warps + warp;
    if (i >= half) break;
    Window<kItems> here = window(i, 0), below = window(i + 1, 0);
    for (int j = 0; j < half; ++j) {
      float dn[kItems] = {};
      take(here, 4, dn);
      pixel(2 * i, 2 * j, dn);
      float dl[kItems] = {};
      take(here, 7, dl);
      take(below, 1, dl);
      pixel(2 * i + 1, 2 * j, dl);
      float dr[kItems] = {}, db[kItems] = {};
      take(here, 5, dr);
      take(here, 8, db);
      take(below, 2, db);
      here = window(i, j + 1);
      below = window(i + 1, j + 1);
      take(here, 3, dr);
      pixel(2 * i, 2 * j + 1, dr);
      take(here, 6, db);
      take(below, 0, db);
      pixel(2 * i + 1, 2 * j + 1, db);
    }
  }
  lane.store(dgamma, mine + map);
  lane.store(dbeta, mine + map + c);
  __syncthreads();
  float* const to = partials + (image * gridDim.x + blockIdx.x) * sums;
  for (int i = threadIdx.x; i < sums; i += blockDim.x) {
    float sum = 0;
    for (int w = 0; w < warps; ++w) sum += glob[map + w * sums + i];
    to[i] = sum;
  }
}

constexpr int kSumThreads = 128;

/// dglob [B, m*m*C] from the partial sums of each image's blocks.
template <class T>
__global__ void __launch_bounds__(kSumThreads)
    interaction_merge_dglob_kernel(const float* partials, int blocks, int sums, int map, T* dglob) {
  const int i = int(blockIdx.x) * kSumThreads + int(threadIdx.x);
  if (i >= map) return;
  const std::int64_t image = blockIdx.y;
  float sum = 0;
  for (int b = 0; b < blocks; ++b) sum += partials[(image * blocks + b) * sums + i];
  dglob[image * map + i] = narrow<T>(sum);
}

/// dgamma and dbeta from those of all blocks.
inline __global__ void __launch_bounds__(kSumThreads)
    interaction_merge_parameters_kernel(const float* partials, std::int64_t blocks, int sums,
                                        int channels, float* dgamma, float* dbeta) {
  const int i = int(blockIdx.x) * kSumThreads + int(threadIdx.x);
  if (i >= 2 * channels) return;
  float sum = 0;
  for (std::int64_t b = 0; b < blocks; ++b) sum += partials[b * sums + sums - 2 * channels + i];
  (i < channels ? dgamma[i] : dbeta[i - channels]) += sum;
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
  const BackwardCut cut(p.shape);
  return std::size_t(p.shape.images) * std::size_t(cut.blocks) * std::size_t(cut.sums) *
         sizeof(float);
}

template <class T>
void interaction_merge_forward(const InteractionMergeForward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.shape.images == 0) return;
  const bool vectors = aligned16(p.local) && aligned16(p.out) && aligned16(p.argmax) &&
                       aligned16(p.gamma) && aligned16(p.beta);
  with_merge_sizes<T>(p.shape, vectors, [&](auto items, auto count) {
    const ForwardCut cut(p.shape);
    const dim3 grid(unsigned(ceil_div(cut.half, kWindows)),
                    unsigned(ceil_div(cut.half, cut.windows * cut.warps)),
                    unsigned(p.shape.images));
    const auto kernel = interaction_merge_forward_kernel<T, items.value, count.value>;
    allow_shared(kernel, cut.shared(p.shape));
    kernel<<<grid, unsigned(cut.warps * kWarpSize), cut.shared(p.shape), stream>>>(p, cut.windows);
  });
  HH_CHECK_LAUNCH(stream);
}

template <class T>
void interaction_merge_backward(const InteractionMergeBackward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.shape.images == 0) return;
  const BackwardCut cut(p.shape);
  auto* const partials = static_cast<float*>(p.workspace);
  const bool vectors = aligned16(p.local) && aligned16(p.dlocal) && aligned16(p.dout) &&
                       aligned16(p.argmax) && aligned16(p.gamma);
  with_merge_sizes<T>(p.shape, vectors, [&](auto items, auto count) {
    const dim3 grid(unsigned(cut.blocks), unsigned(p.shape.images));
    const auto kernel = interaction_merge_backward_kernel<T, items.value, count.value>;
    allow_shared(kernel, cut.shared(p.shape));
    kernel<<<grid, unsigned(cut.warps * kWarpSize), cut.shared(p.shape), stream>>>(p, cut.sums,
                                                                                   partials);
  });
  HH_CHECK_LAUNCH(stream);
  const int c = p.shape.channels, map = p.shape.grid * p.shape.grid * c;
  const dim3 maps(unsigned(ceil_div(map, kSumThreads)), unsigned(p.shape.images));
  interaction_merge_dglob_kernel<<<maps, kSumThreads, 0, stream>>>(partials, cut.blocks, cut.sums,
                                                                   map, p.dglob);
  HH_CHECK_LAUNCH(stream);
  interaction_merge_parameters_kernel<<<unsigned(ceil_div(2 * c, kSumThreads)), kSumThreads, 0,
                                        stream>>>(
      partials, std::int64_t{p.shape.images} * cut.blocks, cut.sums, c, p.dgamma, p.dbeta);
  HH_CHECK_LAUNCH(stream);
}

template std::size_t workspace_bytes(const InteractionMergeForward<float>&);
template std::size_t workspace_bytes(const InteractionMergeForward<bf16>&);
template std::size_t workspace_bytes(const InteractionMergeForward<f16>&);
template std::size_t workspace_bytes(const InteractionMergeBackward<float>&);
template std::size_t workspace_bytes(const InteractionMergeBackward<bf16>&);
template std::size_t workspace_bytes(const InteractionMergeBackward<f16>&);
template void interaction_merge_forward(const InteractionMergeForward<float>&, StreamHandle);
template void interaction_merge_forward(const InteractionMergeForward<bf16>&, StreamHandle);
template void interaction_merge_forward(const InteractionMergeForward<f16>&, StreamHandle);
template void interaction_merge_backward(const InteractionMergeBackward<float>&, StreamHandle);
template void interaction_merge_backward(const InteractionMergeBackward<bf16>&, StreamHandle);
template void interaction_merge_backward(const InteractionMergeBackward<f16>&, StreamHandle);

}  // namespace hh::gpu
