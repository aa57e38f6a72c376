// Mapping   One thread per channel of an image: neighbouring threads read neighbouring channels.
//           Forward walks the windows, backward the pixels, which each look at the windows over
//           them.
// Traffic   forward reads each element up to four times (windows overlap), of a map that lies in
// L2;
//           backward writes dlocal once and reads argmax up to four times.
#include "kernels/core/device.cuh"
#include "kernels/hash/hash_pool.h"

namespace hh::gpu {
namespace {

constexpr int kThreads = 128;

__host__ __device__ inline int pooled_side(int side) { return (side - 1) / 2 + 1; }

template <class T>
__global__ void __launch_bounds__(kThreads) hash_pool_forward_kernel(const HashPoolForward<T> p) {
  const int c = int(blockIdx.x) * kThreads + int(threadIdx.x);
  if (c >= p.channels) return;
  const std::int64_t image = blockIdx.y;
  const T* local = p.local + image * p.side * p.side * p.channels + c;
  const float glob = widen(p.glob[image * p.channels + c]);
  const int o = pooled_side(p.side);
  float total = 0;
  for (int i = 0; i < o; ++i) {
    for (int j = 0; j < o; ++j) {
      float best = -INFINITY;
      int winner = 4;  // the centre, which always is a pixel
      for (int u = 0; u < 3; ++u) {
        for (int v = 0; v < 3; ++v) {
          const int y = 2 * i - 1 + u, x = 2 * j - 1 + v;
          if (y < 0 || y >= p.side || x < 0 || x >= p.side) continue;
          const float sum = widen(local[(std::int64_t{y} * p.side + x) * p.channels]) + glob;
          if (sum > best) {  // the first of equals stays
            best = sum;
            winner = 3 * u + v;
          }
        }
      }
      total += best;
      if (p.argmax != nullptr) {
        p.argmax[((image * o + i) * o + j) * p.channels + c] = std::uint8_t(winner);
      }
    }
  }
  p.pooled[image * p.channels + c] = narrow<T>(total / float(o * o));
}

template <class T>
__global__ void __launch_bounds__(kThreads) hash_pool_backward_kernel(const HashPoolBackward<T> p) {
  const int c = int(blockIdx.x) * kThreads + int(threadIdx.x);
  if (c >= p.channels) return;
  const std::int64_t image = blockIdx.z;
  const int y = int(blockIdx.y) / p.side, x = int(blockIdx.y) % p.side, o = pooled_side(p.side);
  const float share = widen(p.dpooled[image * p.channels + c]) / float(o * o);
  // Windows (i, j) cover rows 2i-1 to 2i+1: one or two of them on each axis.
  float sum = 0;
  for (int i = y / 2; i <= (y + 1) / 2 && i < o; ++i) {
    for (int j = x / 2; j <= (x + 1) / 2 && j < o; ++j) {
      const int code = 3 * (y - 2 * i + 1) + (x - 2 * j + 1);
      if (p.argmax[((image * o + i) * o + j) * p.channels + c] == code) sum += share;
    }
  }
  p.dlocal[((image * p.side + y) * p.side + x) * p.channels + c] = narrow<T>(sum);
}

unsigned channel_blocks(int channels) { return unsigned(ceil_div(channels, kThreads)); }

}  // namespace

template <class T>
void hash_pool_forward(const HashPoolForward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.images == 0) return;
  const dim3 grid(channel_blocks(p.channels), unsigned(p.images));
  hash_pool_forward_kernel<T><<<grid, kThreads, 0, stream>>>(p);
  HH_CHECK_LAUNCH(stream);
}

template <class T>
void hash_pool_backward(const HashPoolBackward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.images == 0) return;
  const dim3 grid(channel_blocks(p.channels), unsigned(p.side) * unsigned(p.side),
                  unsigned(p.images));
  hash_pool_backward_kernel<T><<<grid, kThreads, 0, stream>>>(p);
  HH_CHECK_LAUNCH(stream);
}

template void hash_pool_forward(const HashPoolForward<float>&, StreamHandle);
template void hash_pool_forward(const HashPoolForward<bf16>&, StreamHandle);
template void hash_pool_backward(const HashPoolBackward<float>&, StreamHandle);
template void hash_pool_backward(const HashPoolBackward<bf16>&, StreamHandle);

}  // namespace hh::gpu
