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
/// pack's width of the whole warp apart. Channels past the last are zero and never stored.
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
  /// Calls f(item) for the items that are channels.
  template <class F>
  __device__ void each(const F& f) const {
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      if (channel(k) >= channels) continue;
#pragma unroll
      for (int e = 0; e < kCount; ++e) f(k * kCount + e);
    }
  }
};

/// sum = local + up(glob) of one pixel; `glob` is the image's map in shared memory.
template <int kItems, int kCount, class T>
__device__ void merged_pixel(const Lane<kItems, kCount>& lane, const T* local, const float* glob,
                             int grid, const Tap& y, const Tap& x, float (&sum)[kItems]) {
  lane.load(local, sum);
  const auto add = [&](int row, int column, float w) {
    float g[kItems];
    lane.load(glob + (row * grid + column) * lane.channels, g);
#pragma unroll
    for (int i = 0; i < kItems; ++i) sum[i] = fmaf(w, g[i], sum[i]);
  };
  add(y.first, x.first, y.w0 * x.w0);
  add(y.first, x.second, y.w0 * x.w1);
  add(y.second, x.first, y.w1 * x.w0);
  add(y.second, x.second, y.w1 * x.w1);
}

/// Copies an image's map to shared memory; all threads of the block must call it.
template <class T>
__device__ void load_map(const T* from, int count, float* to) {
  for (int i = threadIdx.x; i < count; i += blockDim.x) to[i] = widen(from[i]);
  __syncthreads();
}

constexpr int kMergeMaxChannels = 1024;
constexpr std::size_t kMergeShared = std::size_t{96} << 10;  // a block's, on every GPU since sm_80

/// Picks the kernel's items per lane and vector width: run(items, count) as integral constants.
template <class T, class Run>
void with_merge_sizes(const InteractionMergeShape& s, bool vectors, const Run& run) {
  HH_REQUIRE(s.channels <= kMergeMaxChannels,
             "interaction_merge: channels = " << s.channels << " on the GPU");
  const auto with_items = [&](auto count) {
    using std::integral_constant;
    if (s.channels <= 256) return run(integral_constant<int, 8>(), count);
    if (s.channels <= 512) return run(integral_constant<int, 16>(), count);
    return run(integral_constant<int, 32>(), count);
  };
  if (vectors && s.channels % kVector<T> == 0) {
    return with_items(std::integral_constant<int, kVector<T>>());
  }
  with_items(std::integral_constant<int, 1>());
}

}  // namespace hh::gpu
