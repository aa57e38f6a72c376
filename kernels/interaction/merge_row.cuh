// SPDX-License-Identifier: Apache-2.0
// What both directions of interaction_merge do with one pixel: a warp holds its channels in
// registers.
#pragma once
#include "kernels/core/device.cuh"
#include "kernels/interaction/interaction_merge.h"

namespace hh::gpu {

/// up[i] = w0 * from[first] + w1 * from[second].
struct Tap {
  int first, second;
  float w0, w1;
  __device__ Tap(int i, int grid, int factor) {
    const int twice = max(0, 2 * i + 1 - factor);  // 2 * factor * position
    first = min(twice / (2 * factor), grid - 1);
    second = min(first + 1, grid - 1);
    w1 = float(twice % (2 * factor)) / float(2 * factor);
    w0 = 1 - w1;
  }
};

/// The channels that a lane of a warp holds: kItems of them, in packs of kCount neighbours, a
/// pack's width of the whole warp apart. Channels past the last are zero and never stored. A pack
/// has at most 4, whatever the type: 16 bytes of float32 in shared memory, where 32 have bank
/// conflicts.
template <int kItems, int kCount>
struct Lane {
  static constexpr int kPacks = kItems / kCount;
  int channels, lane;
  __device__ explicit Lane(int channels_in)
      : channels(channels_in), lane(int(threadIdx.x) % kWarpSize) {}
  __device__ int channel(int pack) const { return (pack * kWarpSize + lane) * kCount; }

  template <class T>
  __device__ void load(const T* row, float (&to)[kItems]) const {
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      float v[kCount] = {};
      if (channel(k) < channels) load_floats(row + channel(k), v);
#pragma unroll
      for (int e = 0; e < kCount; ++e) to[k * kCount + e] = v[e];
    }
  }
  template <class T>
  __device__ void store(const float (&from)[kItems], T* row) const {
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      if (channel(k) >= channels) continue;
      float v[kCount];
#pragma unroll
      for (int e = 0; e < kCount; ++e) v[e] = from[k * kCount + e];
      store_floats(v, row + channel(k));
    }
  }
  /// Calls f(pack) for the packs that are channels.
  template <class F>
  __device__ void each_pack(const F& f) const {
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      if (channel(k) < channels) f(k);
    }
  }
};

/// sum += up(glob) of one pixel; `glob` is the image's map in shared memory.
template <int kItems, int kCount>
__device__ void add_upsampled(const Lane<kItems, kCount>& lane, const float* glob, int grid,
                              const Tap& y, const Tap& x, float (&sum)[kItems]) {
  lane.each_pack([&](int k) {
    const auto add = [&](int row, int column, float w) {
      float g[kCount];
      load_floats(glob + (row * grid + column) * lane.channels + lane.channel(k), g);
#pragma unroll
      for (int e = 0; e < kCount; ++e) sum[k * kCount + e] = fmaf(w, g[e], sum[k * kCount + e]);
    };
    add(y.first, x.first, y.w0 * x.w0);
    add(y.first, x.second, y.w0 * x.w1);
    add(y.second, x.first, y.w1 * x.w0);
    add(y.second, x.second, y.w1 * x.w1);
  });
}

/// Copies an image's map to shared memory; all threads of the block must call it.
template <class T>
__device__ void load_map(const T* from, int count, float* to) {
  for (int i = threadIdx.x; i < count; i += blockDim.x) to[i] = widen(from[i]);
  __syncthreads();
}

constexpr std::size_t kMergeShared = std::size_t{96} << 10;  // a block's, on every GPU since sm_80

/// Picks the kernel's items per lane and vector width: run(items, count) as integral constants.
template <class Run>
void with_merge_sizes(const InteractionMergeShape& s, bool vectors, const Run& run) {
  using std::integral_constant;
  const bool fours = vectors && s.channels % 4 == 0;
  HH_PRECONDITION(s.channels <= (fours ? 1024 : 512),
                  "interaction_merge: channels = "
                      << s.channels
                      << " on the GPU: use at most 512, or a multiple of 4 up to 1024");
  const auto with_items = [&](auto count) {
    if (s.channels <= 256) return run(integral_constant<int, 8>(), count);
    if (count() == 1 || s.channels <= 512) return run(integral_constant<int, 16>(), count);
    if constexpr (count() == 4) run(integral_constant<int, 32>(), count);
  };
  if (fours) return with_items(integral_constant<int, 4>());
  with_items(integral_constant<int, 1>());
}

}  // namespace hh::gpu
