// SPDX-License-Identifier: Apache-2.0
// dW[o, tap, c] = sum over the pixels p of dy[p, o] x[p moved by the tap, c]: a product with the
// pixels inside, whose right side is made of x in shared memory as it is multiplied.
//
// Mapping   A block has 128 output channels, 32 input channels of nine taps or 64 of three, and a
//           run of pixels; so many runs that all blocks fit on the GPU at once. A warp has 64 output
//           channels and 8 or 16 input channels of all taps, in registers. Pixels go by in steps of
//           64, copied by cp.async two steps ahead: dy to a ring of three steps, and the image rows
//           that the taps of a step reach to a ring of rows, where each pixel serves all its taps.
//           Rows have zeros on both sides, and a row of zeros lies between images, so that a tap is
//           an offset.
// Traffic   dy once for each tile of input channels, x once for each of output channels; 230 products
//           a byte of both from L2, where columns in memory are written and read 9 times. The sums
//           of each run of pixels are written, and read by who adds them up (channels_last.cuh).
// Memory    Of dy a pixel's 16-byte chunks are permuted by the pixel's number, and a pixel of x takes
//           an odd number of chunks, so that ldmatrix's eight rows lie on different banks.
// Numerics  Products of 16-bit numbers, float32 sums over the pixels in steps of 16. dbias is the
//           product with a column of ones, each step's by one of the tiles of input channels.
#include <algorithm>
#include <bit>

#include "kernels/conv/weight_gradient.cuh"
#include "kernels/core/gpu_limits.cuh"
#include "kernels/core/mma.cuh"
#include "kernels/core/row_groups.cuh"

namespace hh::gpu {
namespace {

constexpr int kStep = 64, kStages = 3;  // pixels; steps in the ring
constexpr int kPart = 16;               // pixels of an mma
constexpr int kWarpsM = 2, kWarpsN = 4, kThreads = kWarpSize * kWarpsM * kWarpsN;
constexpr int kWarpOut = 64, kOut = kWarpOut * kWarpsM;  // output channels
constexpr int kChunk = 8;                                // elements of 16 bytes
constexpr int kOutChunks = kOut / kChunk;
constexpr int kPixelBytesOfDy = kOut * 2, kStepBytesOfDy = kStep * kPixelBytesOfDy;

template <int kTapsH_, int kTapsW_>
struct Tile {
  static constexpr int kTapsH = kTapsH_, kTapsW = kTapsW_, kTaps = kTapsH * kTapsW;
  static constexpr int kReachH = kTapsH / 2, kReachW = kTapsW / 2;
  static constexpr int kOctets = kTaps == 9 ? 1 : 2;  // of input channels, a warp's
  static constexpr int kIn = kWarpsN * kOctets * 8, kInChunks = kIn / kChunk;
  static constexpr int kPixelBytes = kIn * 2 + 16;
  // A warp's mma side by side: part i is tap i / kOctets and octet i % kOctets.
  static constexpr int kParts = kTaps * kOctets;
};
/// Of a warp: c[m][part] is mma's 16 x 8, see mma.cuh.
template <class Tile>
using Sums = float[4][Tile::kParts][4];

template <class T>
struct Operands {
  const T* x;
  const T* dy;
  int height, width, in, out;
  float* weights;
  float* biases;
};

/// Rows of images as they lie in the ring: row 0 is of zeros, then an image's rows, then one of
/// zeros, and so on; without taps above and below there are none of zeros.
template <class Tile>
__device__ unsigned ring_row(const WeightGradientPlan& plan, unsigned line) {
  return Tile::kReachH == 0 ? line : line + plan.height.quotient(line) + 1;
}

/// Copies what steps need to shared memory.
template <class T, class Tile>
class Copies {
 public:
  __device__ Copies(const Operands<T>& p, const WeightGradientPlan& plan, unsigned dy, unsigned x,
                    int first_out, int first_in, int first_step)
      : p_(p), plan_(plan), dy_(dy), x_(x), first_out_(first_out), first_in_(first_in) {
    next_row_ = row_of_pixel(unsigned(first_step) * kStep) - Tile::kReachH;
  }

  /// Of the steps one after the other, the first of them `first_step`.
  __device__ void copy(int step) {
    copy_dy(step);
    const unsigned last = min(unsigned(step + 1) * kStep, plan_.pixels) - 1;
    const unsigned end = row_of_pixel(last) + Tile::kReachH + 1;
    copy_rows(end - next_row_);
    next_row_ = end;
    place_ = place_ + 1 == kStages ? 0 : place_ + 1;
  }

 private:
  __device__ unsigned row_of_pixel(unsigned pixel) const {
    return ring_row<Tile>(plan_, plan_.width.quotient(pixel));
  }
  __device__ void copy_dy(int step) const {
    constexpr int kAtOnce = kThreads / kOutChunks;
    static_assert(kAtOnce % 8 == 0 && kStep % kAtOnce == 0);
    const int chunk = int(threadIdx.x) % kOutChunks, pixel = int(threadIdx.x) / kOutChunks;
    const int left = int(min(plan_.pixels - unsigned(step) * kStep, unsigned(kStep)));
    const bool inside = first_out_ + chunk * kChunk < p_.out;
    const T* from =
        p_.dy + (std::int64_t{step} * kStep + pixel) * p_.out + first_out_ + chunk * kChunk;
    const unsigned to =
        dy_ + place_ * kStepBytesOfDy + pixel * kPixelBytesOfDy + (chunk ^ pixel % 8) * 16;
#pragma unroll
    for (int i = 0; i < kStep; i += kAtOnce) {
      const bool copy = inside && pixel + i < left;
      copy16_async_or_zeros(to + i * kPixelBytesOfDy,
                            copy ? from + std::int64_t{i} * p_.out : p_.dy, copy);
    }
  }
  __device__ void copy_rows(unsigned rows) const {
    const unsigned chunks = rows * unsigned(p_.width) * Tile::kInChunks;
    for (unsigned i = threadIdx.x; i < chunks; i += kThreads) {
      const unsigned pixel = i / Tile::kInChunks, chunk = i % Tile::kInChunks;
      const unsigned row = plan_.width.quotient(pixel), col = pixel - row * unsigned(p_.width);
      const unsigned at = next_row_ + row;
      unsigned line = at;
      bool copy = first_in_ + int(chunk) * kChunk < p_.in;
      if constexpr (Tile::kReachH != 0) {
        const unsigned image = plan_.rows_of_image.quotient(at);
        copy = copy && at != image * plan_.rows_of_image.value;
        line = at - image - 1;
      }
      const T* from =
          p_.x + (std::int64_t{line} * p_.width + col) * p_.in + first_in_ + int(chunk) * kChunk;
      copy16_async_or_zeros(x_ + (at & plan_.ring_mask) * plan_.row_bytes +
                                (col + Tile::kReachW) * Tile::kPixelBytes + chunk * 16,
                            copy ? from : p_.x, copy);
    }
  }

  const Operands<T>& p_;
  const WeightGradientPlan& plan_;
  unsigned dy_, x_;  // in shared memory
  int first_out_, first_in_;
  unsigned next_row_;  // in the ring's count, of x
  int place_ = 0;
};

/// Adds the products of 16 pixels. `dy`: the lane's row of the first output channels, by itself and
/// from the step's begin; `rows`: its pixel of x for each row of taps.
template <class T, class Tile>
__device__ void add_pixels(unsigned step, unsigned dy, const unsigned (&rows)[Tile::kTapsH],
                           Sums<Tile>& c) {
  unsigned a[4][4];
#pragma unroll
  for (int m = 0; m < 4; ++m) load_transposed(a[m], step + (dy ^ m * 32));
  const bool second = threadIdx.x % kWarpSize >= 16;
  const auto place = [&](int part) {
    const int tap = part / Tile::kOctets;
    return rows[tap / Tile::kTapsW] + tap % Tile::kTapsW * Tile::kPixelBytes +
           part % Tile::kOctets * 16;
  };
#pragma unroll
  for (int part = 0; part + 1 < Tile::kParts; part += 2) {
    unsigned b[4];
    load_transposed(b, second ? place(part + 1) : place(part));
#pragma unroll
    for (int m = 0; m < 4; ++m) {
      mma_add<T>(c[m][part], a[m], b[0], b[1]);
      mma_add<T>(c[m][part + 1], a[m], b[2], b[3]);
    }
  }
  if constexpr (Tile::kParts % 2 == 1) {
    constexpr int kLast = Tile::kParts - 1;
    unsigned b[2];
    load_two_transposed(b, place(kLast));
#pragma unroll
    for (int m = 0; m < 4; ++m) mma_add<T>(c[m][kLast], a[m], b[0], b[1]);
  }
}

/// Two of them, in T.
template <class T>
constexpr unsigned kOnes = std::is_same_v<T, bf16> ? 0x3f803f80 : 0x3c003c00;

template <class T, class Tile>
__device__ void store_sums(const Operands<T>& p, const Sums<Tile>& c, int share, int out, int in) {
  const int lane = int(threadIdx.x) % kWarpSize;
#pragma unroll
  for (int m = 0; m < 4; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int o = out + m * 16 + half * 8 + lane / 4;
      if (o >= p.out) continue;
#pragma unroll
      for (int part = 0; part < Tile::kParts; ++part) {
        const int i = in + part % Tile::kOctets * 8;
        if (i >= p.in) continue;
        float* const to =
            p.weights +
            ((std::int64_t{share} * p.out + o) * Tile::kTaps + part / Tile::kOctets) * p.in + i +
            lane % 4 * 2;
        *reinterpret_cast<float2*>(to) = {c[m][part][2 * half], c[m][part][2 * half + 1]};
      }
    }
  }
}

template <class T, class Tile>
__global__ void __launch_bounds__(kThreads, 1)
    weight_gradient_kernel(const __grid_constant__ Operands<T> p,
                           const __grid_constant__ WeightGradientPlan plan) {
  extern __shared__ uint4 memory[];
  const unsigned dy = shared_address(memory), x = dy + kStages * kStepBytesOfDy;
  const int tile = int(blockIdx.x) / plan.shares, share = int(blockIdx.x) % plan.shares;
  const int out_tile = tile / plan.in_tiles, in_tile = tile % plan.in_tiles;
  const int begin = int(std::int64_t{plan.steps} * share / plan.shares);
  const int end = int(std::int64_t{plan.steps} * (share + 1) / plan.shares);
  // The zeros beside the rows, which no copy touches.
  for (int i = kStages * kStepBytesOfDy / 16 + int(threadIdx.x); i < plan.shared_bytes / 16;
       i += kThreads) {
    memory[i] = {};
  }
  __syncthreads();
  Copies<T, Tile> copies(p, plan, dy, x, out_tile * kOut, in_tile * Tile::kIn, begin);
#pragma unroll
  for (int ahead = 0; ahead < kStages - 1; ++ahead) {
    if (begin + ahead < end) copies.copy(begin + ahead);
    commit_copies();
  }

  const int lane = int(threadIdx.x) % kWarpSize, warp = int(threadIdx.x) / kWarpSize;
  const int warp_m = warp % kWarpsM, warp_n = warp / kWarpsM;
  // Matrices i and i + 1 of dy are neighbours, i + 2 is 8 pixels further.
  const int dy_pixel = lane / 16 * 8 + lane % 8;
  const unsigned dy_at = dy_pixel * kPixelBytesOfDy +
                         ((warp_m * (kWarpOut / kChunk) + lane / 8 % 2) ^ dy_pixel % 8) * 16;
  const unsigned warp_x = x + warp_n * (Tile::kOctets * 16);
  Sums<Tile> c{};
  float ones[4] = {};
  int place = 0;
#pragma unroll 1
  for (int step = begin; step < end; ++step) {
    wait_copies_but<kStages - 2>();
    __syncthreads();  // all copies of this step are there, and the step before has been read
    if (step + kStages - 1 < end) copies.copy(step + kStages - 1);
    commit_copies();
    const unsigned first = unsigned(step) * kStep;
    const unsigned dy_step = dy + place * kStepBytesOfDy;
    const bool adds_bias = p.biases != nullptr && step % plan.in_tiles == in_tile;
#pragma unroll 1
    for (int part = 0; part < kStep && first + part < plan.pixels; part += kPart) {
      // Beyond the last pixel dy is zero, and x any number.
      const unsigned pixel = min(first + part + lane % 16, plan.pixels - 1);
      const unsigned line = plan.width.quotient(pixel);
      const unsigned col = pixel - line * plan.width.value;
      const unsigned top = ring_row<Tile>(plan, line) - Tile::kReachH;
      unsigned rows[Tile::kTapsH];
#pragma unroll
      for (int u = 0; u < Tile::kTapsH; ++u) {
        rows[u] = warp_x + col * Tile::kPixelBytes + ((top + u) & plan.ring_mask) * plan.row_bytes;
      }
      add_pixels<T, Tile>(dy_step + part * kPixelBytesOfDy, dy_at, rows, c);
      if (adds_bias) {
        unsigned a[4];
        load_transposed(a, dy_step + part * kPixelBytesOfDy + (dy_at ^ warp_n * 32));
        mma_add<T>(ones, a, kOnes<T>, kOnes<T>);
      }
    }
    place = place + 1 == kStages ? 0 : place + 1;
  }

  const int out = out_tile * kOut + warp_m * kWarpOut;
  store_sums<T, Tile>(p, c, share, out, in_tile * Tile::kIn + warp_n * (Tile::kOctets * 8));
  if (p.biases == nullptr || lane % 4 != 0) return;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int o = out + warp_n * 16 + half * 8 + lane / 4;
    if (o < p.out) {
      p.biases[std::int64_t{share * plan.in_tiles + in_tile} * p.out + o] = ones[2 * half];
    }
  }
}

/// Calls body(Tile()) for the shape's taps, if there is a kernel for them.
template <class Body>
void with_tile(const Conv2dShape& s, const Body& body) {
  if (s.kernel_h == 3 && s.kernel_w == 3) return body(Tile<3, 3>());
  if (s.kernel_h == 1 && s.kernel_w == 3) return body(Tile<1, 3>());
  if (s.kernel_h == 3 && s.kernel_w == 1) return body(Tile<3, 1>());
}

/// The most rows of the ring that kStages steps and their taps take.
template <class Tile>
std::int64_t most_ring_rows(const Conv2dShape& s) {
  const std::int64_t lines = (kStages * kStep + std::int64_t{s.width} - 2) / s.width + 1;
  if (Tile::kReachH == 0) return lines;
  return lines + (lines + s.height - 2) / s.height + 2 * Tile::kReachH;
}

template <class Tile>
std::optional<WeightGradientPlan> plan_with(const Conv2dShape& s) {
  // A share has at least so many steps, that its sums weigh less than what it reads.
  constexpr int kLeastSteps = 8;
  const GpuLimits gpu = gpu_limits();
  const std::int64_t rows = std::int64_t(std::bit_ceil(std::uint64_t(most_ring_rows<Tile>(s))));
  const std::int64_t row_bytes = std::int64_t{s.width + 2 * Tile::kReachW} * Tile::kPixelBytes;
  const std::int64_t bytes = kStages * kStepBytesOfDy + rows * row_bytes;
  if (bytes > gpu.block_bytes) return {};
  WeightGradientPlan plan{.pixels = unsigned(s.pixels()),
                          .steps = int(ceil_div(s.pixels(), kStep)),
                          .out_tiles = ceil_div(s.out_channels, kOut),
                          .in_tiles = ceil_div(s.in_channels, Tile::kIn),
                          .ring_mask = unsigned(rows - 1),
                          .row_bytes = unsigned(row_bytes),
                          .shared_bytes = int(bytes),
                          .width = Divisor(unsigned(s.width)),
                          .height = Divisor(unsigned(s.height)),
                          .rows_of_image = Divisor(unsigned(s.height) + 1)};
  const std::int64_t tiles = std::int64_t{plan.out_tiles} * plan.in_tiles;
  plan.shares = int(
      std::clamp<std::int64_t>(gpu.multiprocessors / tiles, 1, ceil_div(plan.steps, kLeastSteps)));
  if (tiles * plan.shares > INT32_MAX) return {};
  return plan;
}

}  // namespace

template <class T>
std::optional<WeightGradientPlan> weight_gradient_plan(const Conv2dBackwardWeight<T>& p) {
  const Conv2dShape& s = p.shape;
  if (s.images == 0 || s.in_channels % kChunk != 0 || s.out_channels % kChunk != 0) return {};
  // With the rows of zeros, of which an image of one row has as many, counts stay below 2^31.
  if (s.pixels() > INT32_MAX / 4 || !all_aligned16(p.x, p.dy)) return {};
  std::optional<WeightGradientPlan> plan;
  with_tile(s, [&](auto tile) { plan = plan_with<decltype(tile)>(s); });
  return plan;
}

template <class T>
void weight_gradient(const Conv2dBackwardWeight<T>& p, const WeightGradientPlan& plan,
                     float* weights, float* biases, StreamHandle stream) {
  const Conv2dShape& s = p.shape;
  const Operands<T> operands{.x = p.x,
                             .dy = p.dy,
                             .height = s.height,
                             .width = s.width,
                             .in = s.in_channels,
                             .out = s.out_channels,
                             .weights = weights,
                             .biases = biases};
  with_tile(s, [&](auto tile) {
    launch(weight_gradient_kernel<T, decltype(tile)>, plan.blocks(), kThreads,
           std::size_t(plan.shared_bytes), stream, operands, plan);
  });
}

#define HH_WEIGHT_GRADIENT_OF(T)                                                                   \
  template std::optional<WeightGradientPlan> weight_gradient_plan(const Conv2dBackwardWeight<T>&); \
  template void weight_gradient(const Conv2dBackwardWeight<T>&, const WeightGradientPlan&, float*, \
                                float*, StreamHandle);
HH_WEIGHT_GRADIENT_OF(bf16)
HH_WEIGHT_GRADIENT_OF(f16)
#undef HH_WEIGHT_GRADIENT_OF

}  // namespace hh::gpu
