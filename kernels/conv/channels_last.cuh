// SPDX-License-Identifier: Apache-2.0
// A convolution's weights from the state dict's order [Cout, Cin, taps] to channels-last
// [Cout, taps, Cin], in which cuDNN is fast and a pixel's channels are copied as they lie, and
// sums of their gradient back. A block takes kChannels input channels of one output channel, which
// lie together in the one order, and in rows in the other, through shared memory.
#pragma once
#include <algorithm>

#include "kernels/conv/conv2d.h"
#include "kernels/core/launch.cuh"
#include "kernels/core/row_groups.cuh"

namespace hh::gpu {

constexpr int kReorderChannels = 64;  // of a block

/// The block's part of both orders.
struct ReorderedPart {
  int channels;          // of the block
  std::int64_t in_dict;  // the first of channels * taps neighbours
  std::int64_t in_rows;  // the first of `channels` neighbours of tap 0
  __device__ ReorderedPart(int all_channels, int taps) {
    const int first = int(blockIdx.x) * kReorderChannels;
    channels = min(kReorderChannels, all_channels - first);
    in_dict = (std::int64_t{blockIdx.y} * all_channels + first) * taps;
    in_rows = std::int64_t{blockIdx.y} * all_channels * taps + first;
  }
};

template <class T>
__global__ void __launch_bounds__(kRowThreads)
    channels_last_weights_kernel(const T* from, T* to, int all_channels, int taps) {
  extern __shared__ float4 memory[];
  T* const part = reinterpret_cast<T*>(memory);  // [channels, taps]: an odd stride, no conflicts
  const ReorderedPart place(all_channels, taps);
  for (int i = threadIdx.x; i < place.channels * taps; i += kRowThreads) {
    part[i] = from[place.in_dict + i];
  }
  __syncthreads();
  const int c = int(threadIdx.x) % kReorderChannels;
  if (c >= place.channels) return;
  for (int tap = int(threadIdx.x) / kReorderChannels; tap < taps;
       tap += kRowThreads / kReorderChannels) {
    to[place.in_rows + std::int64_t{tap} * all_channels + c] = part[c * taps + tap];
  }
}

/// to += the sum of `count` arrays that lie one after the other
__global__ void __launch_bounds__(kRowThreads, 8)
    add_channels_last_kernel(const float* from, int count, float* to, int all_channels, int taps) {
  extern __shared__ float4 memory[];
  float* const part = reinterpret_cast<float*>(memory);
  const ReorderedPart place(all_channels, taps);
  const std::int64_t stride = std::int64_t{gridDim.y} * all_channels * taps;
  const int c = int(threadIdx.x) % kReorderChannels;
  for (int tap = int(threadIdx.x) / kReorderChannels; tap < taps;
       tap += kRowThreads / kReorderChannels) {
    if (c >= place.channels) continue;
    const float* of = from + place.in_rows + std::int64_t{tap} * all_channels + c;
    float sum = *of;
#pragma unroll 1
    for (int k = 1; k < count; ++k) sum += *(of += stride);
    part[c * taps + tap] = sum;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < place.channels * taps; i += kRowThreads) {
    to[place.in_dict + i] += part[i];
  }
}

inline dim3 reorder_grid(const Conv2dShape& s) {
  return grid_of(ceil_div(s.in_channels, kReorderChannels), s.out_channels);
}
inline std::size_t reorder_bytes(const Conv2dShape& s, std::size_t element) {
  return std::size_t(kReorderChannels * s.taps()) * element;
}

template <class T>
void weights_to_channels_last(const T* from, const Conv2dShape& s, T* to, StreamHandle stream) {
  channels_last_weights_kernel<<<reorder_grid(s), kRowThreads, reorder_bytes(s, sizeof(T)),
                                 stream>>>(from, to, s.in_channels, s.taps());
  HH_CHECK_LAUNCH(stream);
}

/// `from` [count, Cout, taps, Cin]
inline void add_from_channels_last(const float* from, int count, const Conv2dShape& s, float* to,
                                   StreamHandle stream) {
  add_channels_last_kernel<<<reorder_grid(s), kRowThreads, reorder_bytes(s, sizeof(float)),
                             stream>>>(from, count, to, s.in_channels, s.taps());
  HH_CHECK_LAUNCH(stream);
}

}  // namespace hh::gpu
