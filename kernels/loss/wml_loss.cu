// Mapping   A block takes 64 images and a chunk of the bank, 64 rows at a time through shared
// memory.
//           Its 256 threads each hold a 4 x 4 tile of theta in registers; the tile's weights then
//           go to shared memory for the second product, whose sums (similar and dissimilar apart)
//           stay in registers until the chunk ends. A second kernel adds up the chunks in order.
//           Gradients of more than 64 bits are made 64 at a time, each with theta computed again.
// Traffic   the bank and its labels are read once per 64 images and 64 bits of gradient; each chunk
//           writes its sums once.
// Numerics  theta is a float32 sum in the order of the bits. log1p and exp are CUDA's, within 2
// units.
//           Loss sums are float64 from the tile on.
#include <cmath>

#include "kernels/core/device.cuh"
#include "kernels/loss/wml_loss.h"

namespace hh::gpu {
namespace {

constexpr int kTile = 64;  // images, bank rows and bits of a tile
constexpr int kThreads = 256;
constexpr int kPitch = kTile + 4;  // keeps 16-byte accesses aligned and rows on other banks
constexpr int kMostChunks = 64;    // of the bank

/// How the work is cut and where the partial sums lie in the workspace.
struct Layout {
  template <class TB>
  explicit Layout(const WmlLoss<TB>& p)
      : chunks(int(std::min<std::int64_t>(ceil_div(p.bank_rows, kTile), kMostChunks))),
        image_tiles(int(ceil_div(p.images, kTile))),
        bit_tiles(p.du != nullptr ? int(ceil_div(p.bits, kTile)) : 1) {}
  int chunks, image_tiles, bit_tiles;

  /// Sums of one (chunk, image tile): loss and pairs of both sides.
  struct Totals {
    double loss[2];
    long long pairs[2];
  };
  __host__ __device__ std::int64_t totals() const { return std::int64_t{chunks} * image_tiles; }
  /// Floats of the gradient sums: [chunk, image tile, bit tile, side, image, bit].
  __host__ __device__ std::int64_t gradients() const {
    return totals() * bit_tiles * 2 * kTile * kTile;
  }
};

struct Shared {
  float u[kTile][kPitch];             // [bit, image], one slice of 64 bits
  float rows[kTile][kPitch];          // [bit, bank row], the same slice
  float weight[2][kTile][kPitch];     // [side, bank row, image]
  unsigned long long similar[kTile];  // per image a bit per bank row
  Layout::Totals totals[kThreads / kWarpSize];
};

/// Loads bits [first, first + 64) of 64 rows starting at `row`, transposed; zero outside.
template <class T>
__device__ void load_slice(const T* from, std::int64_t row, std::int64_t rows, int first, int bits,
                           float (&to)[kTile][kPitch]) {
  for (int i = threadIdx.x; i < kTile * kTile; i += kThreads) {
    const int r = i / kTile, k = i % kTile;
    const bool inside = row + r < rows && first + k < bits;
    to[k][r] = inside ? widen(from[(row + r) * bits + first + k]) : 0;
  }
}

template <class TB>
__global__ void __launch_bounds__(kThreads)
    wml_loss_kernel(const WmlLoss<TB> p, const Layout layout, Layout::Totals* totals,
                    float* gradients) {
  extern __shared__ float4 memory[];
  Shared& s = *reinterpret_cast<Shared*>(memory);
  const int chunk = blockIdx.x, image_tile = blockIdx.y, bit_tile = blockIdx.z;
  const int first_image = image_tile * kTile, gradient_bit = bit_tile * kTile;
  const std::int64_t tiles = ceil_div(p.bank_rows, std::int64_t{kTile});
  const int ti = int(threadIdx.x) % 16 * 4, tj = int(threadIdx.x) / 16 * 4;  // image, row or bit
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;

  double loss[2] = {};
  long long pairs[2] = {};
  float du[2][4][4] = {};  // [side][image][bit]

  for (std::int64_t tile = tiles * chunk / layout.chunks;
       tile < tiles * (chunk + 1) / layout.chunks; ++tile) {
    const std::int64_t row = tile * kTile;
    float theta[4][4] = {};
    for (int first = 0; first < p.bits; first += kTile) {
      __syncthreads();  // the slices of the step before are no longer needed
      load_slice(p.u, first_image, p.images, first, p.bits, s.u);
      load_slice(p.bank, row, p.bank_rows, first, p.bits, s.rows);
      __syncthreads();
      const int bits = min(kTile, p.bits - first);
      for (int k = 0; k < bits; ++k) {
        float a[4], b[4];
        load_floats(&s.u[k][ti], a);
        load_floats(&s.rows[k][tj], b);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int j = 0; j < 4; ++j) theta[i][j] = fmaf(a[i], b[j], theta[i][j]);
        }
      }
    }
    // Which pairs are similar: a thread per (image, quarter of the rows), joined by warp votes.
    for (int i = warp; i < kTile; i += kThreads / kWarpSize) {
      unsigned long long mask = 0;
      for (int half = 0; half < 2; ++half) {
        const std::int64_t j = row + half * kWarpSize + lane;
        bool share = false;
        if (first_image + i < p.images && j < p.bank_rows) {
          for (int w = 0; w < p.label_words; ++w) {
            share = share || (p.labels[std::int64_t{first_image + i} * p.label_words + w] &
                              p.bank_labels[j * p.label_words + w]) != 0;
          }
        }
        mask |= static_cast<unsigned long long>(__ballot_sync(kFullMask, share)) << (32 * half);
      }
      if (lane == 0) s.similar[i] = mask;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const bool inside = first_image + ti + i < p.images && row + tj + j < p.bank_rows;
        const int side = (s.similar[ti + i] >> (tj + j) & 1) != 0 ? 0 : 1;
        const float t = p.alpha * theta[i][j], e = expf(-fabsf(t)), sum = 1 + e;
        const float l = log1pf(e) + fmaxf(t, 0.0f) - (side == 0 ? t : 0.0f);
        // sigmoid(t) - s; at exactly 0 it is 1 - s, as in PyTorch.
        const float sigmoid = t >= 0 ? (t == 0 ? 1.0f : 1 / sum) : e / sum;
        const float g = side == 0 ? sigmoid - 1 : sigmoid;
        if (inside) {
          loss[side] += double(l);
          ++pairs[side];
        }
        s.weight[side][tj + j][ti + i] = inside ? g : 0;
        s.weight[1 - side][tj + j][ti + i] = 0;
      }
    }
    if (p.du == nullptr) continue;
    if (p.bits > kTile) {  // the slice in shared memory may be another one
      __syncthreads();
      load_slice(p.bank, row, p.bank_rows, gradient_bit, p.bits, s.rows);
    }
    __syncthreads();
    for (int r = 0; r < kTile; ++r) {
      float b[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) b[j] = s.rows[tj + j][r];
#pragma unroll
      for (int side = 0; side < 2; ++side) {
        float a[4];
        load_floats(&s.weight[side][r][ti], a);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int j = 0; j < 4; ++j) du[side][i][j] = fmaf(a[i], b[j], du[side][i][j]);
        }
      }
    }
  }

  const std::int64_t part = std::int64_t{chunk} * layout.image_tiles + image_tile;
  if (bit_tile == 0) {
    Layout::Totals mine;
#pragma unroll
    for (int side = 0; side < 2; ++side) {
      mine.loss[side] = warp_sum(loss[side]);
      mine.pairs[side] = warp_sum(pairs[side]);
    }
    if (lane == 0) s.totals[warp] = mine;
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int w = 1; w < kThreads / kWarpSize; ++w) {
        for (int side = 0; side < 2; ++side) {
          mine.loss[side] += s.totals[w].loss[side];
          mine.pairs[side] += s.totals[w].pairs[side];
        }
      }
      totals[part] = mine;
    }
  }
  if (p.du == nullptr) return;
  float* const to = gradients + (part * layout.bit_tiles + bit_tile) * 2 * kTile * kTile;
#pragma unroll
  for (int side = 0; side < 2; ++side) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      store_floats(du[side][i], to + (side * kTile + ti + i) * kTile + tj);
  }
}

/// One block: loss and pair counts. S1 and S0 then stand in p.pairs for the next kernel.
template <class TB>
__global__ void wml_loss_totals_kernel(const WmlLoss<TB> p, const Layout layout,
                                       const Layout::Totals* totals) {
  double loss[2] = {};
  long long pairs[2] = {};
  for (std::int64_t i = 0; i < layout.totals(); ++i) {
    for (int side = 0; side < 2; ++side) {
      loss[side] += totals[i].loss[side];
      pairs[side] += totals[i].pairs[side];
    }
  }
  double sum = 0;
  for (int side = 0; side < 2; ++side) {
    if (pairs[side] > 0) sum += loss[side] / double(pairs[side]);
    p.pairs[side] = pairs[side];
  }
  *p.loss = float(sum);
}

template <class TB>
__global__ void __launch_bounds__(kThreads)
    wml_loss_gradient_kernel(const WmlLoss<TB> p, const Layout layout, const float* gradients) {
  const std::int64_t at = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (at >= std::int64_t{p.images} * p.bits) return;
  const int image = int(at / p.bits), bit = int(at % p.bits);
  double sum[2] = {};
  for (int chunk = 0; chunk < layout.chunks; ++chunk) {
    const std::int64_t part = std::int64_t{chunk} * layout.image_tiles + image / kTile;
    const float* from = gradients + (part * layout.bit_tiles + bit / kTile) * 2 * kTile * kTile;
    for (int side = 0; side < 2; ++side) {
      sum[side] += double(from[(side * kTile + image % kTile) * kTile + bit % kTile]);
    }
  }
  double du = 0;
  for (int side = 0; side < 2; ++side) {
    if (p.pairs[side] > 0) du += sum[side] / double(p.pairs[side]);
  }
  p.du[at] = float(double(p.alpha) * du);
}

std::size_t totals_bytes(const Layout& layout) {
  return ceil_div(std::size_t(layout.totals()) * sizeof(Layout::Totals), std::size_t{64}) * 64;
}

}  // namespace

template <class TB>
std::size_t workspace_bytes(const WmlLoss<TB>& p) {
  const Layout layout(p);
  return totals_bytes(layout) +
         (p.du != nullptr ? std::size_t(layout.gradients()) * sizeof(float) : 0);
}

template <class TB>
void wml_loss(const WmlLoss<TB>& p, StreamHandle stream) {
  p.validate();
  const Layout layout(p);
  auto* const totals = static_cast<Layout::Totals*>(p.workspace);
  auto* const gradients =
      reinterpret_cast<float*>(static_cast<char*>(p.workspace) + totals_bytes(layout));
  HH_CUDA_CHECK(cudaFuncSetAttribute(wml_loss_kernel<TB>,
                                     cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(Shared)));
  const dim3 grid(unsigned(layout.chunks), unsigned(layout.image_tiles),
                  unsigned(layout.bit_tiles));
  wml_loss_kernel<TB><<<grid, kThreads, sizeof(Shared), stream>>>(p, layout, totals, gradients);
  HH_CHECK_LAUNCH(stream);
  wml_loss_totals_kernel<TB><<<1, 1, 0, stream>>>(p, layout, totals);
  HH_CHECK_LAUNCH(stream);
  if (p.du == nullptr) return;
  const std::int64_t count = std::int64_t{p.images} * p.bits;
  wml_loss_gradient_kernel<TB>
      <<<unsigned(ceil_div(count, kThreads)), kThreads, 0, stream>>>(p, layout, gradients);
  HH_CHECK_LAUNCH(stream);
}

template std::size_t workspace_bytes(const WmlLoss<float>&);
template std::size_t workspace_bytes(const WmlLoss<f16>&);
template std::size_t workspace_bytes(const WmlLoss<bf16>&);
template void wml_loss(const WmlLoss<float>&, StreamHandle);
template void wml_loss(const WmlLoss<f16>&, StreamHandle);
template void wml_loss(const WmlLoss<bf16>&, StreamHandle);

}  // namespace hh::gpu
