// Mapping   Three launches. The first counts similar pairs, so that the second knows both weights
//           and needs one sum. In the second a block takes 64 images, whose codes stay in shared
//           memory, and a chunk of the bank, 128 rows at a time. Its eight warps each make theta
//           of 32 images and 32 rows on tensor cores, turn it into weights in registers, and
//           multiply these by the same rows; the sums stay in registers until the chunk ends. The
//           third adds up the chunks in order. Gradients of more than 64 bits are made 64 at a
//           time, each with theta computed again.
// Traffic   the bank is read once per 64 images and 64 bits of gradient, its labels twice; each
//           chunk writes its sums once.
// Numerics  a float32 is the exact sum of three bf16 (split.cuh), and the products of their parts
//           that matter are added up in float32, the small ones apart, so that theta is as good as
//           a float32 sum in any order. exp is the hardware's, within 2 units; log1p is the CPU's
//           polynomial. Loss sums are float64 from eight pairs on. Counts are integers.
#include <algorithm>
#include <cmath>

#include "kernels/core/device.cuh"
#include "kernels/loss/split.cuh"
#include "kernels/loss/wml_loss.h"

namespace hh::gpu {
namespace {

constexpr int kTile = 64;         // images and bits of a tile
constexpr int kRows = 128;        // bank rows of a tile
constexpr int kSide = 32;         // images and bank rows of a warp's theta
constexpr int kMostChunks = 128;  // of the bank
constexpr int kImageGroups = kTile / kSide, kRowGroups = kRows / kSide;
constexpr int kThreads = kImageGroups * kRowGroups * kWarpSize;
constexpr int kPitch = kTile + 8;  // keeps 16-byte accesses aligned and rows on other banks
constexpr int kLabelSlice = 8;     // label words of the images held at a time
constexpr int kPairsThreads = 256, kSumsThreads = 256;

/// How the work is cut and where the partial sums lie in the workspace.
struct Layout {
  template <class TB>
  explicit Layout(const WmlLoss<TB>& p)
      : image_tiles(int(ceil_div(p.images, kTile))),
        bit_tiles(p.du != nullptr ? int(ceil_div(p.bits, kTile)) : 1),
        pair_blocks(int(ceil_div(p.bank_rows, std::int64_t{kPairsThreads}))) {
    // All chunks but the last get the same number of tiles.
    const std::int64_t tiles = ceil_div(p.bank_rows, std::int64_t{kRows});
    tiles_per_chunk = ceil_div(tiles, std::int64_t{kMostChunks});
    chunks = int(ceil_div(tiles, tiles_per_chunk));
  }
  std::int64_t tiles_per_chunk;
  int chunks, image_tiles, bit_tiles, pair_blocks;

  /// Sums of the loss: [chunk, image tile].
  __host__ __device__ std::int64_t losses() const { return std::int64_t{chunks} * image_tiles; }
  /// Floats of the gradient sums: [chunk, image tile, bit tile, image, bit].
  __host__ __device__ std::int64_t gradients() const {
    return losses() * bit_tiles * kTile * kTile;
  }
};

/// The workspace's arrays.
struct Scratch {
  double* losses;
  std::int64_t* similar;  // pairs counted by each block of the first launch
  float* gradients;
};

/// Which of 64 images have a class, a bit each: [class of the slice of label words].
using ImagesOfClass = unsigned long long[kLabelSlice * 64];

template <class TB>
struct Shared {
  struct Codes {
    Halves u[kParts<float>][kTile][kPitch];  // [part, image, bit], a slice of 64 bits
    Halves rows[kParts<TB>][kRows][kPitch];  // [part, bank row, bit], the same slice
  };
  union {
    Codes codes;
    float sums[kRowGroups][kTile][kPitch];  // [row group, image, bit]
  };
  ImagesOfClass images_of;
  unsigned similar[kRows][kImageGroups];  // a bit per image
  double loss[kThreads / kWarpSize];
  double scale[2];
};

/// Loads bits [first, first + 64) of `kCount` rows starting at `row`, times `factor`, in parts;
/// zero outside. `packed`: four elements can be loaded at once.
template <int kCount, class T>
__device__ void load_slice(const T* from, float factor, std::int64_t row, std::int64_t rows,
                           int first, int bits, bool packed, Halves (*to)[kCount][kPitch]) {
  constexpr int kAcross = kTile / 4, kStep = kThreads / kAcross;
  const int begin = int(threadIdx.x) / kAcross, k = int(threadIdx.x) % kAcross * 4;
  const int count = int(min(rows - row, std::int64_t{kCount}));
  const int inside = bits - first - k;  // elements from here to the row's end
  const T* at = from + (row + begin) * bits + first + k;
  const int step = kStep * bits;
#pragma unroll
  for (int n = 0; n < kCount / kStep; ++n, at += step) {
    const int r = begin + n * kStep;
    float v[4] = {};
    if (r < count) {
      if (packed && inside > 0) {
        load_floats(at, v);
      } else if (!packed) {
#pragma unroll
        for (int e = 0; e < 4; ++e) v[e] = e < inside ? widen(at[e]) : 0;
      }
    }
#pragma unroll
    for (float& x : v) x *= factor;
#pragma unroll
    for (int part = 0; part < kParts<T>; ++part) {
      const uint2 both{take_bf16(v[0], v[1]), take_bf16(v[2], v[3])};
      *reinterpret_cast<uint2*>(&to[part][r][k]) = both;
    }
  }
}

/// Builds the table for label words [first, first + kLabelSlice) of the tile's images.
template <int kBlock, class TB>
__device__ void index_classes(const WmlLoss<TB>& p, int first_image, int first,
                              ImagesOfClass& images_of) {
  __syncthreads();
  for (int i = threadIdx.x; i < kLabelSlice * 64; i += kBlock) images_of[i] = 0;
  __syncthreads();
  const int words = min(kLabelSlice, p.label_words - first);
  for (int i = threadIdx.x; i < kTile * words; i += kBlock) {
    const int image = i / words, w = i % words;
    if (first_image + image >= p.images) break;
    unsigned long long classes =
        p.labels[std::int64_t{first_image + image} * p.label_words + first + w];
    for (; classes != 0; classes &= classes - 1) {
      atomicOr(&images_of[w * 64 + __ffsll(static_cast<long long>(classes)) - 1], 1ull << image);
    }
  }
  __syncthreads();
}

/// Which of the tile's images share a class with bank row `row`, a bit each. For all threads of a
/// block together: the table is built on the way, unless it is there already.
template <int kBlock, class TB>
__device__ unsigned long long similar_images(const WmlLoss<TB>& p, int first_image,
                                             std::int64_t row, bool indexed,
                                             ImagesOfClass& images_of) {
  unsigned long long images = 0;
  for (int first = 0; first < p.label_words; first += kLabelSlice) {
    if (!indexed || p.label_words > kLabelSlice) {
      index_classes<kBlock>(p, first_image, first, images_of);
    }
    if (row >= p.bank_rows) continue;
    for (int w = 0; w < min(kLabelSlice, p.label_words - first); ++w) {
      unsigned long long classes = p.bank_labels[row * p.label_words + first + w];
      for (; classes != 0; classes &= classes - 1) {
        images |= images_of[w * 64 + __ffsll(static_cast<long long>(classes)) - 1];
      }
    }
  }
  return images;
}

/// A thread a bank row; leaves a count per block.
template <class TB>
__global__ void __launch_bounds__(kPairsThreads)
    wml_loss_pairs_kernel(const WmlLoss<TB> p, std::int64_t* counts) {
  __shared__ ImagesOfClass images_of;
  const std::int64_t row = std::int64_t{blockIdx.x} * kPairsThreads + threadIdx.x;
  long long similar = 0;
  for (int first_image = 0; first_image < p.images; first_image += kTile) {
    similar += __popcll(similar_images<kPairsThreads>(p, first_image, row, false, images_of));
  }
  similar = block_sum<kPairsThreads>(similar);
  if (threadIdx.x == 0) counts[blockIdx.x] = similar;
}

/// log(1 + e) for 0 <= e <= 1, within 2 units: e times a polynomial in e - 1/2 for log(1 + e) / e,
/// as on the CPU.
__device__ inline float log1p_of_fraction(float e) {
  const float x = e - 0.5f;
  float y = -3.176057018e-3f;
  y = fmaf(y, x, 5.250270678e-3f);
  y = fmaf(y, x, -6.788016952e-3f);
  y = fmaf(y, x, 1.157768518e-2f);
  y = fmaf(y, x, -2.056318243e-2f);
  y = fmaf(y, x, 3.663523417e-2f);
  y = fmaf(y, x, -6.768818965e-2f);
  y = fmaf(y, x, 1.326090158e-1f);
  y = fmaf(y, x, -2.885271014e-1f);
  y = fmaf(y, x, 8.109302199e-1f);
  return e * y;
}

/// What the pairs of a bank row weigh: -1/S1 if similar, 1/S0 if not; nothing past the bank's end.
struct Weights {
  float similar, dissimilar;

  /// What a pair adds to the loss, and what its bank row is multiplied by in the gradient: with x
  /// the theta of a dissimilar pair or -theta of a similar one, |w| softplus(x) and w sigmoid(x).
  __device__ float see(float theta, bool is_similar, float& loss) const {
    const float x = is_similar ? -theta : theta, w = is_similar ? similar : dissimilar;
    const float e = fast_exp2(-1.44269504f * fabsf(x));
    loss = fmaf(fabsf(w), log1p_of_fraction(e) + fmaxf(x, 0.0f), loss);
    // At exactly 0 the derivative is 1 - s, as in PyTorch: theta is then +0, a sum that began with
    // +0, and x has the sign of the others of its side.
    const float slope = x == 0 ? 0 : e;
    return w * __fdividef(__float_as_int(x) < 0 ? slope : 1.0f, 1 + slope);
  }
};

/// A warp's theta, as tensor cores leave it: [16 images][8 rows][fragment].
using Theta = float[kSide / 16][kSide / 8][4];

/// theta += the products of a slice of `steps` times 16 bits. The small products go to `small`.
template <class TB>
__device__ void add_products(const typename Shared<TB>::Codes& s, int image, int row, int steps,
                             Theta& theta, Theta& small) {
  const int lane = threadIdx.x % kWarpSize;
  const unsigned u = shared_address(&s.u[0][image + lane % 16][lane / 16 * 8]);
  const unsigned rows =
      shared_address(&s.rows[0][row + lane % 8 + lane / 16 * 8][lane / 8 % 2 * 8]);
  for (int k = 0; k < steps; ++k) {
    unsigned a[kSide / 16][kParts<float>][4];
#pragma unroll
    for (int m = 0; m < kSide / 16; ++m) {
#pragma unroll
      for (int i = 0; i < kParts<float>; ++i) {
        load_matrices(a[m][i], u + 2 * (((i * kTile) + m * 16) * kPitch + k * 16));
      }
    }
#pragma unroll
    for (int n = 0; n < kSide / 16; ++n) {
      unsigned b[kParts<TB>][4];
#pragma unroll
      for (int j = 0; j < kParts<TB>; ++j) {
        load_matrices(b[j], rows + 2 * (((j * kRows) + n * 16) * kPitch + k * 16));
      }
      each_product<kParts<float>, kParts<TB>>([&](auto i, auto j) {
#pragma unroll
        for (int m = 0; m < kSide / 16; ++m) {
#pragma unroll
          for (int h = 0; h < 2; ++h) {
            Theta& to = i + j == 0 ? theta : small;
            mma_add<bf16>(to[m][2 * n + h], a[m][i], b[j][2 * h], b[j][2 * h + 1]);
          }
        }
      });
    }
  }
}

template <class TB>
__global__ void __launch_bounds__(kThreads)
    wml_loss_kernel(const WmlLoss<TB> p, const Layout layout, const Scratch scratch, bool packed) {
  extern __shared__ float4 memory[];
  Shared<TB>& s = *reinterpret_cast<Shared<TB>*>(memory);
  const int chunk = blockIdx.x, image_tile = blockIdx.y, bit_tile = blockIdx.z;
  const int first_image = image_tile * kTile, gradient_bit = bit_tile * kTile;
  const std::int64_t tiles = ceil_div(p.bank_rows, std::int64_t{kRows});
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const int g = lane / 4, t = lane % 4;
  const int image_group = warp % kImageGroups, row_group = warp / kImageGroups;
  const int image = image_group * kSide, first_row = row_group * kSide;
  const bool busy = first_image + image < p.images;  // uniform in a warp

  if (warp == 0) {
    long long pairs = 0;
    for (int i = lane; i < layout.pair_blocks; i += kWarpSize) pairs += scratch.similar[i];
    pairs = warp_sum(pairs);
    const long long others = p.images * p.bank_rows - pairs;
    if (lane == 0) {
      // An empty side has no pair that would use its weight.
      s.scale[0] = -1 / double(pairs);
      s.scale[1] = 1 / double(others);
      if (chunk == 0 && image_tile == 0 && bit_tile == 0) {
        p.pairs[0] = pairs;
        p.pairs[1] = others;
      }
    }
  }
  if (p.label_words <= kLabelSlice) index_classes<kThreads>(p, first_image, 0, s.images_of);
  const auto load_codes = [&](int first) {
    load_slice<kTile>(p.u, p.alpha, first_image, p.images, first, p.bits, packed, s.codes.u);
  };
  const auto load_rows = [&](std::int64_t row, int first) {
    load_slice<kRows>(p.bank, 1.0f, row, p.bank_rows, first, p.bits, packed, s.codes.rows);
  };
  if (p.bits <= kTile) load_codes(0);

  double loss = 0;
  float du[kSide / 16][kTile / 8][4] = {};  // [16 images][8 bits][fragment]
  const std::int64_t end = min(tiles, layout.tiles_per_chunk * (chunk + 1));
  for (std::int64_t tile = layout.tiles_per_chunk * chunk; tile < end; ++tile) {
    const std::int64_t row = tile * kRows;
    Theta theta = {}, small = {};
    for (int first = 0; first < p.bits; first += kTile) {
      __syncthreads();  // the slices of the step before are no longer needed
      if (p.bits > kTile) load_codes(first);
      load_rows(row, first);
      __syncthreads();
      const int steps = ceil_div(min(kTile, p.bits - first), 16);
      if (busy) add_products<TB>(s.codes, image, first_row, steps, theta, small);
    }
    // As many rows as half of the threads.
    static_assert(kThreads >= kRows);
    const int r = threadIdx.x;
    const unsigned long long similar = similar_images<kThreads>(
        p, first_image, r < kRows ? row + r : p.bank_rows, true, s.images_of);
    if (r < kRows) {
      s.similar[r][0] = unsigned(similar);
      s.similar[r][1] = unsigned(similar >> 32);
    }
    if (p.du != nullptr && p.bits > kTile) {  // the slice in shared memory may be another one
      __syncthreads();
      load_rows(row, gradient_bit);
    }
    __syncthreads();
    if (!busy) continue;
    const Weights both_weights{float(s.scale[0]), float(s.scale[1])};
    float sums[kSide / 16][2] = {};  // losses of images g + 16 m + 8 half; eight pairs each
    const int rows_left = int(min(p.bank_rows - row, std::int64_t{kRows}));
#pragma unroll
    for (int n = 0; n < kSide / 16; ++n) {
      unsigned w[kSide / 16][kParts<float>][4];  // weights of 16 images and 16 rows, in parts
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        unsigned bits[2];  // of this lane's two rows, that of image g lowest
        Weights weights[2];
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int at = first_row + n * 16 + h * 8 + 2 * t + e;
          bits[e] = s.similar[at][image_group] >> g;
          weights[e] = at < rows_left ? both_weights : Weights{0, 0};
        }
#pragma unroll
        for (int m = 0; m < kSide / 16; ++m) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            float v[2];
#pragma unroll
            for (int e = 0; e < 2; ++e) {
              const int at = 2 * half + e;
              v[e] = weights[e].see(theta[m][2 * n + h][at] + small[m][2 * n + h][at],
                                    (bits[e] >> (m * 16 + half * 8) & 1) != 0, sums[m][half]);
            }
#pragma unroll
            for (auto& part : w[m]) part[2 * h + half] = take_top(v[0], v[1]);
          }
        }
      }
      if (p.du == nullptr) continue;
      const unsigned rows =
          shared_address(&s.codes.rows[0][first_row + n * 16 + lane % 16][lane / 16 * 8]);
#pragma unroll
      for (int k = 0; k < kTile / 16; ++k) {
        if (gradient_bit + k * 16 >= p.bits) break;
        unsigned b[kParts<TB>][4];
#pragma unroll
        for (int j = 0; j < kParts<TB>; ++j) {
          load_transposed(b[j], rows + 2 * (j * kRows * kPitch + k * 16));
        }
        each_product<kParts<float>, kParts<TB>>([&](auto i, auto j) {
#pragma unroll
          for (int m = 0; m < kSide / 16; ++m) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
              mma_add<bf16>(du[m][2 * k + h], w[m][i], b[j][2 * h], b[j][2 * h + 1]);
            }
          }
        });
      }
    }
#pragma unroll
    for (int m = 0; m < kSide / 16; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const bool inside = first_image + image + m * 16 + half * 8 + g < p.images;
        loss += inside ? double(sums[m][half]) : 0;
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
      for (const double of_warp : s.loss) sum += of_warp;
      scratch.losses[part] = sum;
    }
  }
  if (p.du == nullptr) return;
  __syncthreads();  // the codes give way to the sums
#pragma unroll
  for (int m = 0; m < kSide / 16; ++m) {
#pragma unroll
    for (int k = 0; k < kTile / 8; ++k) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float both[2] = {du[m][k][2 * half], du[m][k][2 * half + 1]};
        store_floats(both, &s.sums[row_group][image + m * 16 + half * 8 + g][k * 8 + 2 * t]);
      }
    }
  }
  __syncthreads();
  float* const to = scratch.gradients + (part * layout.bit_tiles + bit_tile) * kTile * kTile;
  for (int i = int(threadIdx.x) * 4; i < kTile * kTile; i += kThreads * 4) {
    const int from = i / kTile, bit = i % kTile;
    if (first_image + from >= p.images || gradient_bit + bit >= p.bits) continue;
    float sum[4] = {};
#pragma unroll
    for (const auto& group : s.sums) {
      float v[4];
      load_floats(&group[from][bit], v);
#pragma unroll
      for (int e = 0; e < 4; ++e) sum[e] += v[e];
    }
    store_floats(sum, to + i);
  }
}

/// Adds up the chunks: du, 32 elements a block, each warp some of the chunks; and in one more block
/// the loss.
template <class TB>
__global__ void __launch_bounds__(kSumsThreads)
    wml_loss_sums_kernel(const WmlLoss<TB> p, const Layout layout, const Scratch scratch) {
  constexpr int kWarps = kSumsThreads / kWarpSize;
  if (blockIdx.x == 0) {
    double loss = 0;
    for (std::int64_t i = threadIdx.x; i < layout.losses(); i += kSumsThreads) {
      loss += scratch.losses[i];
    }
    loss = block_sum<kSumsThreads>(loss);
    if (threadIdx.x == 0) *p.loss = float(loss);
    return;
  }
  __shared__ double sums[kWarps][kWarpSize];
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const std::int64_t at = std::int64_t{blockIdx.x - 1} * kWarpSize + lane;
  const bool inside = at < std::int64_t{p.images} * p.bits;
  const int image = int(at / p.bits), bit = int(at % p.bits);
  double sum = 0;
  if (inside) {
#pragma unroll 4
    for (int chunk = warp; chunk < layout.chunks; chunk += kWarps) {
      const std::int64_t part = std::int64_t{chunk} * layout.image_tiles + image / kTile;
      const float* from =
          scratch.gradients + (part * layout.bit_tiles + bit / kTile) * kTile * kTile;
      sum += double(from[image % kTile * kTile + bit % kTile]);
    }
  }
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || !inside) return;
#pragma unroll
  for (int w = 1; w < kWarps; ++w) sum += sums[w][lane];
  const double scale = p.gradient_scale != nullptr ? double(*p.gradient_scale) : 1.0;
  p.du[at] = float(double(p.alpha) * scale * sum);
}

std::size_t rounded(std::size_t bytes) { return ceil_div(bytes, std::size_t{64}) * 64; }
std::size_t losses_bytes(const Layout& layout) {
  return rounded(std::size_t(layout.losses()) * sizeof(double));
}
std::size_t counts_bytes(const Layout& layout) {
  return rounded(std::size_t(layout.pair_blocks) * sizeof(std::int64_t));
}

}  // namespace

template <class TB>
std::size_t workspace_bytes(const WmlLoss<TB>& p) {
  const Layout layout(p);
  return losses_bytes(layout) + counts_bytes(layout) +
         (p.du != nullptr ? std::size_t(layout.gradients()) * sizeof(float) : 0);
}

template <class TB>
void wml_loss(const WmlLoss<TB>& p, StreamHandle stream) {
  p.validate();
  const Layout layout(p);
  char* const base = static_cast<char*>(p.workspace);
  const Scratch scratch{
      .losses = reinterpret_cast<double*>(base),
      .similar = reinterpret_cast<std::int64_t*>(base + losses_bytes(layout)),
      .gradients = reinterpret_cast<float*>(base + losses_bytes(layout) + counts_bytes(layout))};
  HH_CUDA_CHECK(cudaFuncSetAttribute(
      wml_loss_kernel<TB>, cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(Shared<TB>)));
  wml_loss_pairs_kernel<TB>
      <<<unsigned(layout.pair_blocks), kPairsThreads, 0, stream>>>(p, scratch.similar);
  HH_CHECK_LAUNCH(stream);
  const dim3 grid(unsigned(layout.chunks), unsigned(layout.image_tiles),
                  unsigned(layout.bit_tiles));
  const bool packed = p.bits % 4 == 0 && aligned16(p.u) && aligned16(p.bank);
  wml_loss_kernel<TB><<<grid, kThreads, sizeof(Shared<TB>), stream>>>(p, layout, scratch, packed);
  HH_CHECK_LAUNCH(stream);
  const std::int64_t elements = p.du != nullptr ? std::int64_t{p.images} * p.bits : 0;
  wml_loss_sums_kernel<TB>
      <<<1 + unsigned(ceil_div(elements, std::int64_t{kWarpSize})), kSumsThreads, 0, stream>>>(
          p, layout, scratch);
  HH_CHECK_LAUNCH(stream);
}

template std::size_t workspace_bytes(const WmlLoss<float>&);
template std::size_t workspace_bytes(const WmlLoss<f16>&);
template std::size_t workspace_bytes(const WmlLoss<bf16>&);
template void wml_loss(const WmlLoss<float>&, StreamHandle);
template void wml_loss(const WmlLoss<f16>&, StreamHandle);
template void wml_loss(const WmlLoss<bf16>&, StreamHandle);

}  // namespace hh::gpu
