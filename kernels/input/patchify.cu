// SPDX-License-Identifier: Apache-2.0
// Mapping   A block has a strip, a row of patches; a thread kVec neighbouring pixels of a patch's
//           line. Neighbouring threads take a patch's lines, then the strip's patches, then
//           channels: with patches of 4 x 4 a warp's accesses are whole sectors on both sides.
//           (Smaller patches' aren't on one of them, whatever the order.) The bytes of an 8-bit
//           strip, which are neighbours, go through shared memory, where that order has no bank
//           conflicts.
// Traffic   every array once.
#include "kernels/core/device.cuh"
#include "kernels/input/patchify.h"

namespace hh::gpu {
namespace {

constexpr int kThreads = 256;

/// f(c, u, x, place in the rows) of all packs of kVec elements of the block's strip: channel, line
/// of the strip, first column of the image. T is the type of the rows.
template <class T, int kVec, class F>
__device__ void for_each_pack(const PatchShape& s, F f) {
  const int across = s.size / s.patch, packs = s.patch / kVec;  // packs in a line of a patch
  const std::int64_t first = std::int64_t{blockIdx.x} * across * s.cols();
  // A patch's channel is less than a sector of the rows: better to go through them in their order.
  const bool in_order = std::int64_t{s.patch} * s.patch * sizeof(T) < 32;
  for (int q = threadIdx.x; q < s.channels * s.size * packs; q += kThreads) {
    const int v = q % packs * kVec, line = q / packs;
    const int u = line % s.patch, patch = line / s.patch;
    const int inner = in_order ? s.channels : across;
    const int c = in_order ? patch % inner : patch / inner;
    const int j = in_order ? patch / inner : patch % inner;
    f(c, u, j * s.patch + v, first + std::int64_t{j} * s.cols() + (c * s.patch + u) * s.patch + v);
  }
}

/// Where a pixel of the strip lies in the channels-first images.
__device__ std::int64_t place(const PatchShape& s, int c, int u, int x) {
  const std::int64_t across = s.size / s.patch, image = blockIdx.x / across;
  const std::int64_t y = blockIdx.x % across * s.patch + u;
  return ((image * s.channels + c) * s.size + y) * s.size + x;
}

template <class T, int kVec>
__global__ void __launch_bounds__(kThreads) patchify_forward_kernel(const PatchifyForward<T> p) {
  for_each_pack<T, kVec>(p.shape, [&](int c, int u, int x, std::int64_t at) {
    float v[kVec];
    load_floats(p.image + place(p.shape, c, u, x), v);
    store_floats(v, p.rows + at);
  });
}

template <class T, int kVec>
__global__ void __launch_bounds__(kThreads) patchify_backward_kernel(const PatchifyBackward<T> p) {
  for_each_pack<T, kVec>(p.shape, [&](int c, int u, int x, std::int64_t at) {
    float v[kVec];
    load_floats(p.drows + at, v);
    store_floats(v, p.dimage + place(p.shape, c, u, x));
  });
}

/// kShared: the strip fits into shared memory, and lies on a boundary of 16 bytes in every image.
template <class T, int kVec, bool kShared>
__global__ void __launch_bounds__(kThreads) patchify_pixels_kernel(const PatchifyPixels<T> p) {
  extern __shared__ uint4 memory[];
  const PatchShape& s = p.shape;
  const std::int64_t bytes = std::int64_t{s.patch} * s.size * s.channels;
  const std::uint8_t* pixels = p.pixels + blockIdx.x * bytes;
  if constexpr (kShared) {
    for (int i = threadIdx.x; i < bytes / 16; i += kThreads) {
      memory[i] = reinterpret_cast<const uint4*>(pixels)[i];
    }
    pixels = reinterpret_cast<const std::uint8_t*>(memory);
    __syncthreads();
  }
  float scale[4], shift[4];
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    scale[c] = 1 / (255 * p.std[c]);
    shift[c] = p.mean[c] / p.std[c];
  }
  for_each_pack<T, kVec>(s, [&](int c, int u, int x, std::int64_t at) {
    float a = scale[0], b = shift[0];
#pragma unroll
    for (int k = 1; k < 4; ++k) {
      a = c == k ? scale[k] : a;
      b = c == k ? shift[k] : b;
    }
    float v[kVec];
#pragma unroll
    for (int k = 0; k < kVec; ++k) {
      v[k] = float(pixels[(std::int64_t{u} * s.size + x + k) * s.channels + c]) * a - b;
    }
    store_floats(v, p.rows + at);
  });
}

/// Pixels of one access: 4 or 2 where they divide a patch's line, and so also a row of the output.
template <class F>
void choose_pack(const PatchShape& s, bool aligned, F launch) {
  if (aligned && s.patch % 4 == 0) return launch(std::integral_constant<int, 4>());
  if (aligned && s.patch % 2 == 0) return launch(std::integral_constant<int, 2>());
  launch(std::integral_constant<int, 1>());
}

dim3 strips(const PatchShape& s) { return grid_of(s.rows() / (s.size / s.patch)); }

}  // namespace

template <class T>
void run(const PatchifyForward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.shape.rows() == 0) return;
  choose_pack(p.shape, aligned16(p.image) && aligned16(p.rows), [&](auto vec) {
    patchify_forward_kernel<T, vec()><<<strips(p.shape), kThreads, 0, stream>>>(p);
  });
  HH_CHECK_LAUNCH(stream);
}

template <class T>
void run(const PatchifyBackward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.shape.rows() == 0) return;
  choose_pack(p.shape, aligned16(p.drows) && aligned16(p.dimage), [&](auto vec) {
    patchify_backward_kernel<T, vec()><<<strips(p.shape), kThreads, 0, stream>>>(p);
  });
  HH_CHECK_LAUNCH(stream);
}

template <class T>
void run(const PatchifyPixels<T>& p, StreamHandle stream) {
  p.validate();
  if (p.shape.rows() == 0) return;
  const std::int64_t bytes = std::int64_t{p.shape.patch} * p.shape.size * p.shape.channels;
  constexpr std::int64_t kMostShared = 48 * 1024;
  const bool shared = aligned16(p.pixels) && bytes % 16 == 0 && bytes <= kMostShared;
  choose_pack(p.shape, aligned16(p.rows), [&](auto vec) {
    if (shared) {
      patchify_pixels_kernel<T, vec(), true>
          <<<strips(p.shape), kThreads, std::size_t(bytes), stream>>>(p);
    } else {
      patchify_pixels_kernel<T, vec(), false><<<strips(p.shape), kThreads, 0, stream>>>(p);
    }
  });
  HH_CHECK_LAUNCH(stream);
}

template void run(const PatchifyForward<float>&, StreamHandle);
template void run(const PatchifyForward<bf16>&, StreamHandle);
template void run(const PatchifyForward<f16>&, StreamHandle);
template void run(const PatchifyBackward<float>&, StreamHandle);
template void run(const PatchifyBackward<bf16>&, StreamHandle);
template void run(const PatchifyBackward<f16>&, StreamHandle);
template void run(const PatchifyPixels<float>&, StreamHandle);
template void run(const PatchifyPixels<bf16>&, StreamHandle);
template void run(const PatchifyPixels<f16>&, StreamHandle);

}  // namespace hh::gpu
