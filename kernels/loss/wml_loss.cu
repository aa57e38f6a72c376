// Mapping   Three launches. The first counts similar pairs, so that the second knows both weights
// and
//           needs one sum. In the second a block takes 64 images, whose codes stay in shared
//           memory, and a chunk of the bank, 64 rows at a time. Its 256 threads each hold a 4 x 4
//           tile of theta in registers; the tile's weights then go to shared memory for the second
//           product, whose sums stay in registers until the chunk ends. The third adds up the
//           chunks in order. Gradients of more than 64 bits are made 64 at a time, each with theta
//           computed again.
// Traffic   the bank is read once per 64 images and 64 bits of gradient, its labels twice; each
// chunk
//           writes its sums once. A thread's images are 16 apart, which keeps banks apart.
// Numerics  theta is a float32 sum in the order of the bits. log1p and exp are CUDA's, within 2
// units.
//           Loss sums are float64 from the tile on. Pairs are counted by integer atomics, which
//           give the same number in any order.
#include <cmath>

#include "kernels/core/device.cuh"
#include "kernels/loss/wml_loss.h"

namespace hh::gpu {
namespace {

constexpr int kTile = 64;  // images, bank rows and bits of a tile
constexpr int kThreads = 256;
constexpr int kPitch = kTile + 4;      // keeps 16-byte accesses aligned and rows on other banks
constexpr int kMostChunks = 128;       // of the bank
constexpr int kSide = 4;               // theta's of a thread: kSide images by kSide rows
constexpr int kLanes = kTile / kSide;  // threads along a side of the tile, and between its images
constexpr int kLabelSlice = 8;         // label words of the images held at a time

/// How the work is cut and where the partial sums lie in the workspace.
struct Layout {
  template <class TB>
  explicit Layout(const WmlLoss<TB>& p)
      : image_tiles(int(ceil_div(p.images, kTile))),
        bit_tiles(p.du != nullptr ? int(ceil_div(p.bits, kTile)) : 1) {
    // All chunks but the last get the same number of tiles.
    const std::int64_t tiles = ceil_div(p.bank_rows, std::int64_t{kTile});
    tiles_per_chunk = ceil_div(tiles, std::int64_t{kMostChunks});
    chunks = int(ceil_div(tiles, tiles_per_chunk));
  }
  std::int64_t tiles_per_chunk;
  int chunks, image_tiles, bit_tiles;

  /// Sums of the loss: [chunk, image tile].
  __host__ __device__ std::int64_t losses() const { return std::int64_t{chunks} * image_tiles; }
  /// Floats of the gradient sums: [chunk, image tile, bit tile, image, bit].
  __host__ __device__ std::int64_t gradients() const {
    return losses() * bit_tiles * kTile * kTile;
  }
};

/// Labels of 64 images, kLabelSlice words of each.
using LabelSlice = unsigned long long[kLabelSlice][kTile];

struct Shared {
  float u[kTile][kPitch];       // [image, bit], one slice of 64 bits
  float rows[kTile][kPitch];    // [bank row, bit], the same slice
  float weight[kTile][kPitch];  // [bank row, image]
  LabelSlice labels;
  unsigned short similar[kTile][kTile / 16];  // [bank row, 16 images] a bit per image
  double loss[kThreads / kWarpSize];
};

/// Loads bits [first, first + 64) of 64 rows starting at `row`; zero outside.
template <class T>
__device__ void load_slice(const T* from, std::int64_t row, std::int64_t rows, int first, int bits,
                           float (&to)[kTile][kPitch]) {
  for (int i = threadIdx.x; i < kTile * kTile; i += kThreads) {
    const int r = i / kTile, k = i % kTile;
    const bool inside = row + r < rows && first + k < bits;
    to[r][k] = inside ? widen(from[(row + r) * bits + first + k]) : 0;
  }
}

/// Words [first, first + kLabelSlice) of 64 images; zero outside.
template <class TB>
__device__ void load_labels(const WmlLoss<TB>& p, int first_image, int first, LabelSlice& to) {
  for (int i = threadIdx.x; i < kLabelSlice * kTile; i += kThreads) {
    const int image = first_image + i / kLabelSlice, w = first + i % kLabelSlice;
    const bool inside = image < p.images && w < p.label_words;
    to[i % kLabelSlice][i / kLabelSlice] =
        inside ? p.labels[std::int64_t{image} * p.label_words + w] : 0;
  }
}

/// Which of images [begin, begin + kImages) of the tile share a class with bank row `row`, a bit
/// each. For all threads of a block together: label slices are loaded on the way, unless there is
/// only one and it is there already.
template <int kImages, class TB>
__device__ unsigned long long similar_images(const WmlLoss<TB>& p, int first_image, int begin,
                                             std::int64_t row, bool loaded, LabelSlice& labels) {
  unsigned long long mask = 0;
  for (int first = 0; first < p.label_words; first += kLabelSlice) {
    if (!loaded || p.label_words > kLabelSlice) {
      __syncthreads();
      load_labels(p, first_image, first, labels);
      __syncthreads();
    }
    if (row >= p.bank_rows) continue;
    for (int w = 0; w < min(kLabelSlice, p.label_words - first); ++w) {
      const unsigned long long own = p.bank_labels[row * p.label_words + first + w];
#pragma unroll
      for (int i = 0; i < kImages; ++i) {
        mask |= static_cast<unsigned long long>((labels[w][begin + i] & own) != 0) << i;
      }
    }
  }
  return mask;
}

/// A thread a bank row. p.pairs must be zero.
template <class TB>
__global__ void __launch_bounds__(kThreads) wml_loss_pairs_kernel(const WmlLoss<TB> p) {
  __shared__ LabelSlice labels;
  const std::int64_t row = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  long long similar = 0;
  for (int first_image = 0; first_image < p.images; first_image += kTile) {
    similar += __popcll(similar_images<kTile>(p, first_image, 0, row, false, labels));
  }
  const long long rows = row < p.bank_rows ? 1 : 0;
  const long long s1 = warp_sum(similar), all = warp_sum(rows) * p.images;
  if (threadIdx.x % kWarpSize != 0) return;
  auto* const pairs = reinterpret_cast<unsigned long long*>(p.pairs);
  atomicAdd(&pairs[0], static_cast<unsigned long long>(s1));
  atomicAdd(&pairs[1], static_cast<unsigned long long>(all - s1));
}

template <class TB>
__global__ void __launch_bounds__(kThreads)
    wml_loss_kernel(const WmlLoss<TB> p, const Layout layout, double* losses, float* gradients) {
  extern __shared__ float4 memory[];
  Shared& s = *reinterpret_cast<Shared*>(memory);
  const int chunk = blockIdx.x, image_tile = blockIdx.y, bit_tile = blockIdx.z;
  const int first_image = image_tile * kTile, gradient_bit = bit_tile * kTile;
  const std::int64_t tiles = ceil_div(p.bank_rows, std::int64_t{kTile});
  // A thread's images are ti, ti + kLanes, ..., its rows (then bits) tj, tj + 1, ...
  const int ti = int(threadIdx.x) % kLanes, tj = int(threadIdx.x) / kLanes * kSide;
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  // Similar, dissimilar. An empty side has no pair that would use its weight.
  const double scale[2] = {1 / double(p.pairs[0]), 1 / double(p.pairs[1])};

  double loss = 0;
  float du[kSide][kSide] = {};  // [image][bit]
  load_labels(p, first_image, 0, s.labels);
  if (p.bits <= kTile) load_slice(p.u, first_image, p.images, 0, p.bits, s.u);

  const std::int64_t end = min(tiles, layout.tiles_per_chunk * (chunk + 1));
  for (std::int64_t tile = layout.tiles_per_chunk * chunk; tile < end; ++tile) {
    const std::int64_t row = tile * kTile;
    float theta[kSide][kSide] = {};
    for (int first = 0; first < p.bits; first += kTile) {
      __syncthreads();  // the slices of the step before are no longer needed
      if (p.bits > kTile) load_slice(p.u, first_image, p.images, first, p.bits, s.u);
      load_slice(p.bank, row, p.bank_rows, first, p.bits, s.rows);
      __syncthreads();
      // Bits past the end are zeros on both sides.
      for (int k = 0; k < min(kTile, p.bits - first); k += 4) {
        float a[kSide][4], b[kSide][4];
#pragma unroll
        for (int i = 0; i < kSide; ++i) load_floats(&s.u[ti + i * kLanes][k], a[i]);
#pragma unroll
        for (int j = 0; j < kSide; ++j) load_floats(&s.rows[tj + j][k], b[j]);
#pragma unroll
        for (int n = 0; n < 4; ++n) {
#pragma unroll
          for (int i = 0; i < kSide; ++i) {
#pragma unroll
            for (int j = 0; j < kSide; ++j) theta[i][j] = fmaf(a[i][n], b[j][n], theta[i][j]);
          }
        }
      }
    }
    const int r = int(threadIdx.x) / 4, quarter = int(threadIdx.x) % 4;
    s.similar[r][quarter] = static_cast<unsigned short>(
        similar_images<16>(p, first_image, quarter * 16, row + r, true, s.labels));
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kSide; ++i) {
#pragma unroll
      for (int j = 0; j < kSide; ++j) {
        const int image = ti + i * kLanes;
        const bool inside = first_image + image < p.images && row + tj + j < p.bank_rows;
        const int side = (s.similar[tj + j][image / 16] >> (image % 16) & 1) != 0 ? 0 : 1;
        const float t = p.alpha * theta[i][j], e = expf(-fabsf(t)), sum = 1 + e;
        const float l = log1pf(e) + fmaxf(t, 0.0f) - (side == 0 ? t : 0.0f);
        // sigmoid(t) - s; at exactly 0 it is 1 - s, as in PyTorch.
        const float sigmoid = t >= 0 ? (t == 0 ? 1.0f : 1 / sum) : e / sum;
        const float g = side == 0 ? sigmoid - 1 : sigmoid;
        if (inside) loss += scale[side] * double(l);
        s.weight[tj + j][image] = inside ? float(scale[side]) * g : 0;
      }
    }
    if (p.du == nullptr) continue;
    if (p.bits > kTile) {  // the slice in shared memory may be another one
      __syncthreads();
      load_slice(p.bank, row, p.bank_rows, gradient_bit, p.bits, s.rows);
    }
    __syncthreads();
    for (int n = 0; n < kTile; ++n) {
      float b[kSide];
      load_floats(&s.rows[n][tj], b);
#pragma unroll
      for (int i = 0; i < kSide; ++i) {
        const float a = s.weight[n][ti + i * kLanes];
#pragma unroll
        for (int j = 0; j < kSide; ++j) du[i][j] = fmaf(a, b[j], du[i][j]);
      }
    }
  }

  const std::int64_t part = std::int64_t{chunk} * layout.image_tiles + image_tile;
  if (bit_tile == 0) {
    const double mine = warp_sum(loss);
    if (lane == 0) s.loss[warp] = mine;
    __syncthreads();
    if (threadIdx.x == 0) {
      double sum = 0;
      for (int w = 0; w < kThreads / kWarpSize; ++w) sum += s.loss[w];
      losses[part] = sum;
    }
  }
  if (p.du == nullptr) return;
  float* const to = gradients + (part * layout.bit_tiles + bit_tile) * kTile * kTile;
#pragma unroll
  for (int i = 0; i < kSide; ++i) store_floats(du[i], to + (ti + i * kLanes) * kTile + tj);
}

/// Adds up the chunks: du, a thread an element, and in one more block the loss.
template <class TB>
__global__ void __launch_bounds__(kThreads)
    wml_loss_sums_kernel(const WmlLoss<TB> p, const Layout layout, const double* losses,
                         const float* gradients) {
  if (blockIdx.x == 0) {
    __shared__ double sums[kThreads / kWarpSize];
    double loss = 0;
    for (std::int64_t i = threadIdx.x; i < layout.losses(); i += kThreads) loss += losses[i];
    loss = warp_sum(loss);
    if (threadIdx.x % kWarpSize == 0) sums[threadIdx.x / kWarpSize] = loss;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int w = 1; w < kThreads / kWarpSize; ++w) loss += sums[w];
    *p.loss = float(loss);
    return;
  }
  const std::int64_t at = std::int64_t{blockIdx.x - 1} * kThreads + threadIdx.x;
  if (at >= std::int64_t{p.images} * p.bits) return;
  const int image = int(at / p.bits), bit = int(at % p.bits);
  double sum = 0;
#pragma unroll 8
  for (int chunk = 0; chunk < layout.chunks; ++chunk) {
    const std::int64_t part = std::int64_t{chunk} * layout.image_tiles + image / kTile;
    const float* from = gradients + (part * layout.bit_tiles + bit / kTile) * kTile * kTile;
    sum += double(from[image % kTile * kTile + bit % kTile]);
  }
  p.du[at] = float(double(p.alpha) * sum);
}

std::size_t losses_bytes(const Layout& layout) {
  return ceil_div(std::size_t(layout.losses()) * sizeof(double), std::size_t{64}) * 64;
}

}  // namespace

template <class TB>
std::size_t workspace_bytes(const WmlLoss<TB>& p) {
  const Layout layout(p);
  return losses_bytes(layout) +
         (p.du != nullptr ? std::size_t(layout.gradients()) * sizeof(float) : 0);
}

template <class TB>
void wml_loss(const WmlLoss<TB>& p, StreamHandle stream) {
  p.validate();
  const Layout layout(p);
  auto* const losses = static_cast<double*>(p.workspace);
  auto* const gradients =
      reinterpret_cast<float*>(static_cast<char*>(p.workspace) + losses_bytes(layout));
  HH_CUDA_CHECK(cudaFuncSetAttribute(wml_loss_kernel<TB>,
                                     cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(Shared)));
  HH_CUDA_CHECK(cudaMemsetAsync(p.pairs, 0, 2 * sizeof *p.pairs, stream));
  wml_loss_pairs_kernel<TB>
      <<<unsigned(ceil_div(p.bank_rows, std::int64_t{kThreads})), kThreads, 0, stream>>>(p);
  HH_CHECK_LAUNCH(stream);
  const dim3 grid(unsigned(layout.chunks), unsigned(layout.image_tiles),
                  unsigned(layout.bit_tiles));
  wml_loss_kernel<TB><<<grid, kThreads, sizeof(Shared), stream>>>(p, layout, losses, gradients);
  HH_CHECK_LAUNCH(stream);
  const std::int64_t elements = p.du != nullptr ? std::int64_t{p.images} * p.bits : 0;
  wml_loss_sums_kernel<TB>
      <<<1 + unsigned(ceil_div(elements, std::int64_t{kThreads})), kThreads, 0, stream>>>(
          p, layout, losses, gradients);
  HH_CHECK_LAUNCH(stream);
}

template std::size_t workspace_bytes(const WmlLoss<float>&);
template std::size_t workspace_bytes(const WmlLoss<f16>&);
template std::size_t workspace_bytes(const WmlLoss<bf16>&);
template void wml_loss(const WmlLoss<float>&, StreamHandle);
template void wml_loss(const WmlLoss<f16>&, StreamHandle);
template void wml_loss(const WmlLoss<bf16>&, StreamHandle);

}  // namespace hh::gpu
