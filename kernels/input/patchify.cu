// Mapping   One thread per kVec neighbouring pixels of a patch's line. Neighbouring threads take a
//           patch's lines, then the patches of a strip (a row of patches), then channels: with 4 x
//           4 patches a warp's accesses are whole sectors on both sides. A block has a strip. From
//           8-bit images the strip, whose bytes are all neighbours, goes through shared memory and
//           the threads follow the order of the rows.
// Traffic   every array once.
#include "kernels/core/device.cuh"
#include "kernels/input/patchify.h"

namespace hh::gpu {
namespace {

constexpr int kThreads = 256;

/// A strip of patches: blockIdx.x = (image, i).
struct Strip {
  int across;                // patches
  std::int64_t first_pixel;  // of the image's channel 0, channels first
  std::int64_t first_row;    // in elements
  __device__ explicit Strip(const PatchShape& s) : across(s.size / s.patch) {
    const std::int64_t image = blockIdx.x / across, i = blockIdx.x % across;
    const std::int64_t plane = std::int64_t{s.size} * s.size;
    first_pixel = image * s.channels * plane + i * s.patch * s.size;
    first_row = std::int64_t{blockIdx.x} * across * s.cols();
  }
};

/// f(place in the channels-first image, place in the rows) of all packs of kVec elements of a
/// strip.
template <int kVec, class F>
__device__ void for_each_pack(const PatchShape& s, F f) {
  const Strip strip(s);
  const int packs = s.patch / kVec;  // in a line of a patch
  const std::int64_t plane = std::int64_t{s.size} * s.size;
  for (int q = threadIdx.x; q < s.channels * s.size * packs; q += kThreads) {
    const int v = q % packs * kVec, line = q / packs;
    const int u = line % s.patch, patch = line / s.patch;
    const int j = patch % strip.across, c = patch / strip.across;
    f(strip.first_pixel + c * plane + std::int64_t{u} * s.size + j * s.patch + v,
      strip.first_row + std::int64_t{j} * s.cols() + (c * s.patch + u) * s.patch + v);
  }
}

template <class T, int kVec>
__global__ void __launch_bounds__(kThreads) patchify_forward_kernel(const PatchifyForward<T> p) {
  for_each_pack<kVec>(p.shape, [&](std::int64_t pixel, std::int64_t at) {
    float v[kVec];
    load_floats(p.image + pixel, v);
    store_floats(v, p.rows + at);
  });
}

template <class T, int kVec>
__global__ void __launch_bounds__(kThreads) patchify_backward_kernel(const PatchifyBackward<T> p) {
  for_each_pack<kVec>(p.shape, [&](std::int64_t pixel, std::int64_t at) {
    float v[kVec];
    load_floats(p.drows + at, v);
    store_floats(v, p.dimage + pixel);
  });
}

/// kShared: the strip fits into shared memory, and lies on a boundary of 16 bytes in every image.
template <class T, int kVec, bool kShared>
__global__ void __launch_bounds__(kThreads) patchify_pixels_kernel(const PatchifyPixels<T> p) {
  extern __shared__ uint4 memory[];
  const PatchShape& s = p.shape;
  const Strip strip(s);
  const int bytes = s.patch * s.size * s.channels;
  const std::uint8_t* pixels = p.pixels + std::int64_t{blockIdx.x} * bytes;
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
  for (int q = threadIdx.x; q < bytes / kVec; q += kThreads) {
    const int at = q * kVec, patch = at / s.cols(), in_patch = at % s.cols();
    const int c = in_patch / (s.patch * s.patch), uv = in_patch % (s.patch * s.patch);
    const int u = uv / s.patch, v = uv % s.patch;
    const std::uint8_t* from = pixels + (u * s.size + patch * s.patch + v) * s.channels + c;
    float a = scale[0], b = shift[0];
#pragma unroll
    for (int k = 1; k < 4; ++k) {
      a = c == k ? scale[k] : a;
      b = c == k ? shift[k] : b;
    }
    float value[kVec];
#pragma unroll
    for (int k = 0; k < kVec; ++k) value[k] = float(from[k * s.channels]) * a - b;
    store_floats(value, p.rows + strip.first_row + at);
  }
}

/// Pixels of one access: 4 or 2 where they divide a patch's line, and so also a row of the output.
template <class F>
void choose_pack(const PatchShape& s, bool aligned, F launch) {
  if (aligned && s.patch % 4 == 0) return launch(std::integral_constant<int, 4>());
  if (aligned && s.patch % 2 == 0) return launch(std::integral_constant<int, 2>());
  launch(std::integral_constant<int, 1>());
}

unsigned strips(const PatchShape& s) { return unsigned(s.rows() / (s.size / s.patch)); }

}  // namespace

template <class T>
void patchify_forward(const PatchifyForward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.shape.rows() == 0) return;
  choose_pack(p.shape, aligned16(p.image) && aligned16(p.rows), [&](auto vec) {
    patchify_forward_kernel<T, vec()><<<strips(p.shape), kThreads, 0, stream>>>(p);
  });
  HH_CHECK_LAUNCH(stream);
}

template <class T>
void patchify_backward(const PatchifyBackward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.shape.rows() == 0) return;
  choose_pack(p.shape, aligned16(p.drows) && aligned16(p.dimage), [&](auto vec) {
    patchify_backward_kernel<T, vec()><<<strips(p.shape), kThreads, 0, stream>>>(p);
  });
  HH_CHECK_LAUNCH(stream);
}

template <class T>
void patchify_pixels(const PatchifyPixels<T>& p, StreamHandle stream) {
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

template void patchify_forward(const PatchifyForward<float>&, StreamHandle);
template void patchify_forward(const PatchifyForward<bf16>&, StreamHandle);
template void patchify_backward(const PatchifyBackward<float>&, StreamHandle);
template void patchify_backward(const PatchifyBackward<bf16>&, StreamHandle);
template void patchify_pixels(const PatchifyPixels<float>&, StreamHandle);
template void patchify_pixels(const PatchifyPixels<bf16>&, StreamHandle);

}  // namespace hh::gpu
