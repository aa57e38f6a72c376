// SPDX-License-Identifier: Apache-2.0
// Mapping   A block takes 64 channels of one image through shared memory: rows of channels on the
//           map's side, rows of positions on the tokens' side, both read and written in order.
//           dpos: one thread per (token, channel) adds up the images in their order, in blocks of
//           the same launch.
// Traffic   reads and writes every element once; dtokens once more for dpos.
#include "kernels/core/device.cuh"
#include "kernels/interaction/interaction_tokens.h"

namespace hh::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kChannels = 64;

/// The map's tile [M, kChannels] in shared memory. Rows are longer by 32 / M or 1: a warp that goes
/// down several columns of M positions at once then has no bank conflicts.
class Tile {
 public:
  static constexpr int kMostPositions = InteractionTokensForward<float>::kMaxPositions;
  static constexpr int kFloats = kMostPositions * (kChannels + 1);
  static_assert(kMostPositions >= kWarpSize);

  __device__ Tile(float* memory, int positions)
      : memory_(memory), pitch_(kChannels + max(1, kWarpSize / positions)) {}
  __device__ float& at(int m, int c) const { return memory_[m * pitch_ + c]; }

 private:
  float* memory_;
  int pitch_;
};

template <class T>
__global__ void __launch_bounds__(kThreads)
    interaction_tokens_forward_kernel(const InteractionTokensForward<T> p,
                                      const std::int64_t first_image) {
  __shared__ float memory[Tile::kFloats];
  const Tile tile(memory, p.positions);
  const std::int64_t image = (first_image + blockIdx.y) * p.positions * p.channels;
  const int first = blockIdx.x * kChannels, count = min(kChannels, p.channels - first);
  for (int i = threadIdx.x; i < p.positions * count; i += kThreads) {
    const int m = i / count, c = i % count;
    tile.at(m, c) = widen(p.z[image + std::int64_t{m} * p.channels + first + c]);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < p.positions * count; i += kThreads) {
    const int c = i / p.positions, m = i % p.positions;
    const int f = first * p.positions + i;
    p.tokens[image + f] = narrow<T>(tile.at(m, c) + p.pos[f]);
  }
}

/// A block's tile of dz.
template <class T>
__device__ void reorder_gradient(const InteractionTokensBackward<T>& p, std::int64_t image_number,
                                 int first) {
  __shared__ float memory[Tile::kFloats];
  const Tile tile(memory, p.positions);
  const std::int64_t image = image_number * p.positions * p.channels;
  const int count = min(kChannels, p.channels - first);
  for (int i = threadIdx.x; i < p.positions * count; i += kThreads) {
    const int c = i / p.positions, m = i % p.positions;
    tile.at(m, c) = widen(p.dtokens[image + std::int64_t{first} * p.positions + i]);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < p.positions * count; i += kThreads) {
    const int m = i / count, c = i % count;
    p.dz[image + std::int64_t{m} * p.channels + first + c] = narrow<T>(tile.at(m, c));
  }
}

/// A block's part of dpos, of as many elements as a tile has.
template <class T>
__device__ void add_positions(const InteractionTokensBackward<T>& p, int first) {
  const int size = p.positions * p.channels;
  const int end = min(size, (first + kChannels) * p.positions);
  for (int f = first * p.positions + int(threadIdx.x); f < end; f += kThreads) {
    float sum = p.dpos[f];
#pragma unroll 8
    for (int b = 0; b < p.images; ++b) sum += widen(p.dtokens[std::int64_t{b} * size + f]);
    p.dpos[f] = sum;
  }
}

/// A row of blocks for dpos, if `with_positions`, and then one for each image.
template <class T>
__global__ void __launch_bounds__(kThreads)
    interaction_tokens_backward_kernel(const InteractionTokensBackward<T> p,
                                       const std::int64_t first_image, const bool with_positions) {
  const int first = int(blockIdx.x) * kChannels;
  if (with_positions && blockIdx.y == 0) return add_positions(p, first);
  reorder_gradient(p, first_image + blockIdx.y - (with_positions ? 1 : 0), first);
}

}  // namespace

template <class T>
void run(const InteractionTokensForward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.images == 0) return;
  in_grid_parts(p.images, [&](std::int64_t first, std::int64_t images) {
    interaction_tokens_forward_kernel<T>
        <<<grid_of(ceil_div(p.channels, kChannels), images), kThreads, 0, stream>>>(p, first);
  });
  HH_CHECK_LAUNCH(stream);
}

template <class T>
void run(const InteractionTokensBackward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.images == 0) return;
  // The row of dpos is counted as an image before the first.
  in_grid_parts(std::int64_t{p.images} + 1, [&](std::int64_t first, std::int64_t rows) {
    interaction_tokens_backward_kernel<T>
        <<<grid_of(ceil_div(p.channels, kChannels), rows), kThreads, 0, stream>>>(
            p, std::max<std::int64_t>(first - 1, 0), first == 0);
  });
  HH_CHECK_LAUNCH(stream);
}

template void run(const InteractionTokensForward<float>&, StreamHandle);
template void run(const InteractionTokensForward<bf16>&, StreamHandle);
template void run(const InteractionTokensForward<f16>&, StreamHandle);
template void run(const InteractionTokensBackward<float>&, StreamHandle);
template void run(const InteractionTokensBackward<bf16>&, StreamHandle);
template void run(const InteractionTokensBackward<f16>&, StreamHandle);

}  // namespace hh::gpu
