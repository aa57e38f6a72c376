// SPDX-License-Identifier: Apache-2.0
// Mapping   One launch, whose blocks are all there at once and meet twice. First each counts the
//           similar pairs of its share; while the others' counts arrive it makes the theta of its
//           first pairs. A block takes 64 images and a chunk of the bank. Each of its four warps
//           keeps 16 images' codes in registers, makes theta of these and 64 rows on tensor cores,
//           turns it into weights in registers, and multiplies these by the same rows; the sums
//           stay in registers until the chunk ends, and the next rows are on their way meanwhile.
//           When all have met again, they share the adding up of the chunks, in order. Gradients
//           of more than 64 bits are made 64 at a time, each with theta computed again.
// Traffic   the bank is read once per 64 images and 64 bits of gradient, its labels once if there
//           is a block for every 128 rows; each chunk writes its sums once.
// Numerics  a float32 is the exact sum of three bf16 (split.cuh). The products of their parts that
//           matter are added up in float32: at most 6 sums for 16 bits, so that theta is as good
//           as a float32 sum in any order. exp is the hardware's, within 2 units; log1p is a
//           polynomial. Loss sums are float64 from eight pairs on. Counts are integers.
#include <cooperative_groups.h>

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "kernels/core/device.cuh"
#include "kernels/core/workspace.h"
#include "kernels/loss/split.cuh"
#include "kernels/loss/wml_loss.h"

namespace hh::gpu {
namespace {

constexpr int kTile = 64;         // images and bits of a tile
constexpr int kRows = 128;        // bank rows of a tile
constexpr int kStep = 64;         // and of those of which a warp has theta
constexpr int kImages = 16;       // of a warp
constexpr int kMostChunks = 128;  // of the bank
constexpr int kWarps = kTile / kImages, kThreads = kWarps * kWarpSize;
constexpr int kPitch = kTile + 8;  // keeps 16-byte accesses aligned and rows on other banks
constexpr int kLabelSlice = 8;     // label words of the images held at a time
constexpr unsigned kPause = 100;  // ns before a block asks for the first time whether all are there

/// How the work is cut and where the partial sums lie in the workspace.
struct Layout {
  template <class TB>
  explicit Layout(const WmlLoss<TB>& p)
      : tiles(ceil_div(p.bank_rows, std::int64_t{kRows})),
        tiles_per_chunk(ceil_div(tiles, std::int64_t{kMostChunks})),
        chunks(int(ceil_div(tiles, tiles_per_chunk))),
        image_tiles(ceil_div(p.images, kTile)),
        bit_tiles(p.du != nullptr ? ceil_div(p.bits, kTile) : 1) {}
  std::int64_t tiles, tiles_per_chunk;  // all chunks but the last have as many
  int chunks, image_tiles, bit_tiles;

  /// Sums of the loss: [chunk, image tile].
  __host__ __device__ int losses() const { return chunks * image_tiles; }
  /// What the blocks take in turn: [chunk, image tile, bit tile].
  __host__ __device__ int items() const { return losses() * bit_tiles; }
  /// Floats of the gradient sums: [item, image, bit].
  std::int64_t gradients() const { return std::int64_t{items()} * kTile * kTile; }
};

/// The workspace's arrays.
struct Scratch {
  Scratch(const Layout& layout, bool gradient, Workspace& workspace)
      : losses(workspace.take<double>(layout.losses())),
        similar(workspace.take<std::int64_t>(layout.items())),
        gradients(gradient ? workspace.take<float>(layout.gradients()) : nullptr) {}
  double* losses;
  std::int64_t* similar;  // pairs counted by each block
  float* gradients;
};

template <class TB>
struct Shared {
  union {
    Halves rows[kParts<TB>][kStep][kPitch];  // [part, bank row, bit]
    double sums[kWarps][kTile];              // the last ones: [warp, bit]
  };
  unsigned long long images_of[kLabelSlice * 64];  // which of the images have a class, a bit each
  unsigned similar[2][kRows];  // which of them share one with a bank row: 32 and 32
  double loss[kWarps];
  std::int64_t counts[kWarps];
  float weights[2];
};

/// 64 bits of kStep bank rows, on the way from global to shared memory.
template <class T>
struct Slice {
  using Raw = Pack<std::conditional_t<sizeof(T) == 4, float, unsigned>, 4>;
  static constexpr int kPack = kVector<T>, kAcross = kTile / kPack;
  static constexpr int kApart = kThreads / kAcross, kTimes = kStep / kApart;
  Raw raw[kTimes];

  /// Bits from `first` on. What lies past the last bit or row is some other bit or row: the codes
  /// are zero at such bits, and the weights of such rows.
  __device__ void fetch(const WmlLoss<T>& p, std::int64_t row, int first, bool packed) {
    const int begin = int(threadIdx.x / kAcross), k = int(threadIdx.x % kAcross) * kPack;
    const int left = int(min(p.bank_rows - row, std::int64_t{kStep})), inside = p.bits - first;
    const T* const at = p.bank + row * p.bits + first;
    if (packed) {
      const T* here = at + min(k, inside - kPack);
      if (left == kStep) {
        here += begin * p.bits;
#pragma unroll
        for (int n = 0; n < kTimes; ++n, here += kApart * p.bits) {
          raw[n] = *reinterpret_cast<const Raw*>(here);
        }
        return;
      }
#pragma unroll
      for (int n = 0; n < kTimes; ++n) {
        const int r = min(begin + n * kApart, left - 1);
        raw[n] = *reinterpret_cast<const Raw*>(here + r * p.bits);
      }
      return;
    }
#pragma unroll
    for (int n = 0; n < kTimes; ++n) {
      const T* const here = at + min(begin + n * kApart, left - 1) * p.bits;
#pragma unroll
      for (int e = 0; e < kPack; ++e) {
        const T v = here[min(k + e, inside - 1)];
        if constexpr (sizeof(T) == 4) {
          raw[n].v[e] = v;
        } else {
          raw[n].v[e / 2] = e % 2 == 0 ? v.bits : raw[n].v[e / 2] | unsigned{v.bits} << 16;
        }
      }
    }
  }

  /// Splits them into parts. Begins and ends with a barrier: the rows before are no longer needed.
  __device__ void store(Halves (*to)[kStep][kPitch]) const {
    __syncthreads();
    const int begin = int(threadIdx.x / kAcross), k = int(threadIdx.x % kAcross) * kPack;
#pragma unroll
    for (int n = 0; n < kTimes; ++n) {
      Pack<unsigned, kPack / 2> parts[kParts<T>];
#pragma unroll
      for (int i = 0; i < kPack / 2; ++i) {
        if constexpr (std::is_same_v<T, bf16>) {
          parts[0].v[i] = raw[n].v[i];
        } else {
          float v, w;
          if constexpr (std::is_same_v<T, f16>) {
            v = widen_half<f16>(raw[n].v[i], 0), w = widen_half<f16>(raw[n].v[i], 1);
          } else {
            v = raw[n].v[2 * i], w = raw[n].v[2 * i + 1];
          }
#pragma unroll
          for (auto& part : parts) part.v[i] = take_top(v, w);
        }
      }
#pragma unroll
      for (int part = 0; part < kParts<T>; ++part) {
        *reinterpret_cast<Pack<unsigned, kPack / 2>*>(&to[part][begin + n * kApart][k]) =
            parts[part];
      }
    }
    __syncthreads();
  }
};

/// Finds which of the tile's images share a class with the bank rows from `row` on. `indexed`: the
/// table of these images is still there. Begins and ends with a barrier.
template <class TB>
__device__ void find_similar(const WmlLoss<TB>& p, int first_image, std::int64_t row, bool indexed,
                             Shared<TB>& s) {
  const int thread = int(threadIdx.x);
  const int images = min(p.images - first_image, kTile);
  const int rows = int(min(p.bank_rows - row, std::int64_t{kRows}));
  for (int first = 0; first < p.label_words; first += kLabelSlice) {
    const int words = min(kLabelSlice, p.label_words - first);
    __syncthreads();
    static_assert(kThreads == kRows);
    if (first == 0) s.similar[0][thread] = s.similar[1][thread] = 0;
    if (!indexed) {
      for (int i = thread; i < words * 64; i += kThreads) s.images_of[i] = 0;
      __syncthreads();
      for (int i = thread; i < images * words; i += kThreads) {
        const int image = i / words, w = i % words;
        unsigned long long classes =
            p.labels[std::int64_t{first_image + image} * p.label_words + first + w];
        for (; classes != 0; classes &= classes - 1) {
          atomicOr(&s.images_of[w * 64 + __ffsll(static_cast<long long>(classes)) - 1],
                   1ull << image);
        }
      }
    }
    __syncthreads();
    for (int i = thread; i < rows * words; i += kThreads) {
      const int r = i / words, w = i % words;
      unsigned long long classes = p.bank_labels[(row + r) * p.label_words + first + w], found = 0;
      for (; classes != 0; classes &= classes - 1) {
        found |= s.images_of[w * 64 + __ffsll(static_cast<long long>(classes)) - 1];
      }
#pragma unroll
      for (int side = 0; side < 2; ++side, found >>= 32) {
        if (unsigned(found) != 0) atomicOr(&s.similar[side][r], unsigned(found));
      }
    }
  }
  __syncthreads();
}

/// log(1 + e) / e for 0 <= e <= 1, a polynomial; e times it is log(1 + e) within 3 units.
__device__ inline float log1p_ratio(float e) {
  float y = 5.25345793e-3f;
  y = fmaf(y, e, -2.95885075e-2f);
  y = fmaf(y, e, 7.83616677e-2f);
  y = fmaf(y, e, -1.36747703e-1f);
  y = fmaf(y, e, 1.91114306e-1f);
  y = fmaf(y, e, -2.48443693e-1f);
  y = fmaf(y, e, 3.33192706e-1f);
  y = fmaf(y, e, -4.99995023e-1f);
  return fmaf(y, e, 1.0f);
}

/// What pairs weigh: -1/S1 if similar, 1/S0 if not.
struct Weights {
  float similar, dissimilar;

  /// What a pair adds to the loss, and what its bank row is multiplied by in the gradient: with x
  /// the theta of a dissimilar pair or -theta of a similar one, |w| softplus(x) and w sigmoid(x).
  /// `mask`: all ones if similar, else zero.
  __device__ float see(float theta, unsigned mask, float& loss, float& nearest) const {
    float w, x, ratio;
    asm("lop3.b32 %0, %1, %2, %3, 0xca;" : "=f"(w) : "r"(mask), "f"(similar), "f"(dissimilar));
    asm("lop3.b32 %0, %1, %2, 0x80000000, 0x78;" : "=f"(x) : "f"(theta), "r"(mask));
    const float distance = fabsf(x), e = fast_exp2(-1.44269504f * distance);
    nearest = fminf(nearest, distance);
    loss = fmaf(fabsf(w), fmaf(e, log1p_ratio(e), fmaxf(x, 0.0f)), loss);
    asm("div.approx.ftz.f32 %0, %1, %2;" : "=f"(ratio) : "f"(x < 0 ? e : 1.0f), "f"(1 + e));
    return w * ratio;
  }
  /// At theta = 0 the derivative is 1 - s, as in PyTorch.
  __device__ float at_zero(unsigned mask) const { return mask != 0 ? 0 : dissimilar; }
};

/// A warp's codes times alpha, as tensor cores take them: [16 bits][part][fragment].
using Codes = unsigned[kTile / 16][kParts<float>][4];

/// Loads 64 bits from `first` on of 16 images from `image` on. Zero past the last bit; the images
/// past the last one are that one again. `packed`: two elements can be loaded at once.
template <class TB>
__device__ void load_codes(const WmlLoss<TB>& p, int image, int first, bool packed, Codes& codes) {
  const int lane = int(threadIdx.x % kWarpSize), column = first + lane % 4 * 2;
  const bool whole = packed && first + kTile <= p.bits;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = min(image + lane / 4 + 8 * half, p.images - 1);
    const float* const at = p.u + std::int64_t{row} * p.bits + column;
    float v[kTile / 8][2];
#pragma unroll
    for (int i = 0; i < kTile / 8; ++i) {
      if (whole) {
        load_floats(at + i * 8, v[i]);
        continue;
      }
#pragma unroll
      for (int e = 0; e < 2; ++e) v[i][e] = column + i * 8 + e < p.bits ? at[i * 8 + e] : 0;
    }
#pragma unroll
    for (int i = 0; i < kTile / 8; ++i) {
      float a = v[i][0] * p.alpha, b = v[i][1] * p.alpha;
#pragma unroll
      for (auto& part : codes[i / 2]) part[half + i % 2 * 2] = take_bf16(a, b);
    }
  }
}

/// A warp's theta, as tensor cores leave it: [8 rows][fragment].
using Theta = float[kStep / 8][4];

/// theta += the products of `bits` bits, at most 64.
template <class TB>
__device__ void add_products(const Codes& codes, const Shared<TB>& s, int bits, Theta& theta) {
  const int lane = int(threadIdx.x % kWarpSize);
  const unsigned rows = shared_address(&s.rows[0][lane % 8 + lane / 16 * 8][lane / 8 % 2 * 8]);
#pragma unroll
  for (int k = 0; k < kTile / 16; ++k) {
    if (k * 16 >= bits) break;
#pragma unroll
    for (int n = 0; n < kStep / 16; ++n) {
      unsigned b[kParts<TB>][4];
#pragma unroll
      for (int j = 0; j < kParts<TB>; ++j) {
        load_matrices(b[j], rows + 2 * ((j * kStep + n * 16) * kPitch + k * 16));
      }
      each_product<kParts<float>, kParts<TB>>([&](auto i, auto j) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          mma_add<bf16>(theta[2 * n + h], codes[k][i], b[j][2 * h], b[j][2 * h + 1]);
        }
      });
    }
  }
}

/// All ones if the sign of byte `byte` is set, else zero.
__device__ inline unsigned sign_mask(unsigned v, int byte) {
  unsigned mask;
  asm("prmt.b32 %0, %1, 0, %2;" : "=r"(mask) : "r"(v), "r"(0x8888 + 0x1111 * byte));
  return mask;
}

/// Adds up the chunks: du a row of 64 bits at a time, each warp some of the chunks; and the loss.
template <class TB>
__device__ void add_chunks(const WmlLoss<TB>& p, const Layout& layout, const Scratch& scratch,
                           Shared<TB>& s) {
  const int lane = int(threadIdx.x % kWarpSize), warp = int(threadIdx.x / kWarpSize);
  const int rows = p.du != nullptr ? p.images * layout.bit_tiles : 0;
  if (blockIdx.x == gridDim.x - 1) {  // it has the shortest chunk
    double loss = 0;
    for (int i = int(threadIdx.x); i < layout.losses(); i += kThreads) loss += scratch.losses[i];
    loss = block_sum<kThreads>(loss);
    if (threadIdx.x == 0) *p.loss = float(loss);
  }
  for (int row = int(blockIdx.x); row < rows; row += int(gridDim.x)) {
    const int image = row / layout.bit_tiles, bit_tile = row % layout.bit_tiles;
    const int bit = bit_tile * kTile + 2 * lane;
    const auto item = [&](int chunk) {
      return (std::int64_t{chunk} * layout.image_tiles + image / kTile) * layout.bit_tiles +
             bit_tile;
    };
    const float* from = scratch.gradients + (item(warp) * kTile + image % kTile) * kTile + 2 * lane;
    const std::int64_t step = (item(kWarps) - item(0)) * kTile * kTile;
    double sum[2] = {};
    if (bit < p.bits) {
#pragma unroll 4
      for (int chunk = warp; chunk < layout.chunks; chunk += kWarps, from += step) {
        float v[2];
        load_floats(from, v);
        sum[0] += double(v[0]);
        sum[1] += double(v[1]);
      }
    }
    __syncthreads();  // the sums of the row before have been used
    s.sums[warp][2 * lane] = sum[0];
    s.sums[warp][2 * lane + 1] = sum[1];
    __syncthreads();
    const int at = bit_tile * kTile + int(threadIdx.x);
    if (int(threadIdx.x) >= kTile || at >= p.bits) continue;
    double du = 0;
#pragma unroll
    for (const auto& part : s.sums) du += part[threadIdx.x];
    const double scale = p.gradient_scale != nullptr ? double(*p.gradient_scale) : 1.0;
    p.du[std::int64_t{image} * p.bits + at] = float(double(p.alpha) * scale * du);
  }
}

/// A warp's part of the gradient: [8 bits][fragment].
using Gradients = float[kTile / 8][4];

/// What 16 rows and a warp's 16 images weigh: [8 rows][image g or g + 8][row].
using PairWeights = float[2][2][2];

/// Rows past the bank's end: no loss, and zero for the gradient.
__device__ __forceinline__ void leave_out(int left, Theta& theta) {
  const int t = int(threadIdx.x) % 4;
#pragma unroll
  for (int n = 0; n < kStep / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (n * 8 + 2 * t + i % 2 >= left) theta[n][i] = -INFINITY;
    }
  }
}

/// du += the products of the weights, which are used up, and `bits` bits of 16 rows of the tile from
/// `row` on.
template <class TB>
__device__ __forceinline__ void add_gradients(const Shared<TB>& s, int row, int bits,
                                              PairWeights& v, Gradients& du) {
  const int lane = int(threadIdx.x % kWarpSize);
  unsigned w[kParts<float>][4];  // the weights of 16 images and 16 rows, in parts
#pragma unroll
  for (int h = 0; h < 2; ++h) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (auto& of : w) of[2 * h + half] = take_top(v[h][half][0], v[h][half][1]);
    }
  }
  const unsigned rows = shared_address(&s.rows[0][row + lane % 16][lane / 16 * 8]);
#pragma unroll
  for (int k = 0; k < kTile / 16; ++k) {
    if (k * 16 >= bits) break;
    unsigned b[kParts<TB>][4];
#pragma unroll
    for (int j = 0; j < kParts<TB>; ++j) {
      load_transposed(b[j], rows + 2 * (j * kStep * kPitch + k * 16));
    }
    each_product<kParts<float>, kParts<TB>>([&](auto i, auto j) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        mma_add<bf16>(du[2 * k + h], w[i], b[j][2 * h], b[j][2 * h + 1]);
      }
    });
  }
}

/// Adds what the pairs of a warp's images and kStep rows have to its loss and, unless there is none,
/// its gradient. `row`: the first of them in the tile of kRows.
template <class TB>
__device__ __forceinline__ void see_pairs(const WmlLoss<TB>& p, const Shared<TB>& s,
                                          const Weights& weights, int row, int first_image,
                                          int gradient_bits, const Theta& theta, double& loss,
                                          Gradients& du) {
  const int lane = int(threadIdx.x % kWarpSize), warp = int(threadIdx.x / kWarpSize);
  const int g = lane / 4, t = lane % 4;
  const auto* const similar = reinterpret_cast<const uint2*>(&s.similar[warp / 2][row + 2 * t]);
  const int shift = (warp % 2 == 0 ? 23 : 7) - g;
  float sums[2];  // losses of images g and g + 8, eight pairs each
#pragma unroll
  for (int n = 0; n < kStep / 16; ++n) {
    if (n % 2 == 0) sums[0] = sums[1] = 0;
    PairWeights v;
    float nearest = 1;
    unsigned mask[2][2][2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const uint2 both = similar[n * 8 + h * 4];
      // Bits g and g + 8 of the warp's images to the signs of bytes 2 and 3.
      const unsigned bits[2] = {both.x << shift, both.y << shift};
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          mask[h][half][e] = sign_mask(bits[e], 2 + half);
          v[h][half][e] =
              weights.see(theta[2 * n + h][2 * half + e], mask[h][half][e], sums[half], nearest);
        }
      }
    }
    if (n % 2 == 1) {
      loss += first_image + g < p.images ? double(sums[0]) : 0;
      loss += first_image + g + 8 < p.images ? double(sums[1]) : 0;
    }
    if (p.du == nullptr) continue;
    if (nearest == 0) {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int h = i / 4, half = i / 2 % 2, e = i % 2;
        if (theta[2 * n + h][2 * half + e] == 0) {
          v[h][half][e] = weights.at_zero(mask[h][half][e]);
        }
      }
    }
    add_gradients(s, n * 16, gradient_bits, v, du);
  }
}

/// find_similar() for a tile of the bank and one of the images, unless its pairs are still in `s`.
template <class TB>
struct SimilarPairs {
  const WmlLoss<TB>& p;
  Shared<TB>& s;
  std::int64_t found_tile = -1;
  int found_images = -1;

  __device__ __forceinline__ void operator()(std::int64_t tile, int image_tile) {
    if (tile == found_tile && image_tile == found_images) return;
    const bool indexed = p.label_words <= kLabelSlice && image_tile == found_images;
    find_similar(p, image_tile * kTile, tile * kRows, indexed, s);
    found_tile = tile;
    found_images = image_tile;
  }
};

/// Leaves the number of similar pairs of this block's tiles of the bank for all to read.
template <class TB>
__device__ __forceinline__ void count_pairs(const Layout& layout, const Scratch& scratch,
                                            Shared<TB>& s, SimilarPairs<TB>& find) {
  std::int64_t count = 0;
  for (int image_tile = 0; image_tile < layout.image_tiles; ++image_tile) {
    for (std::int64_t tile = blockIdx.x; tile < layout.tiles; tile += gridDim.x) {
      find(tile, image_tile);
      count += __reduce_add_sync(
          kFullMask, __popc(s.similar[0][threadIdx.x]) + __popc(s.similar[1][threadIdx.x]));
    }
  }
  if (threadIdx.x % kWarpSize == 0) s.counts[threadIdx.x / kWarpSize] = count;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int w = 1; w < kWarps; ++w) count += s.counts[w];
    scratch.similar[blockIdx.x] = count;
  }
}

/// What all blocks counted becomes the weights. The block waits before it reads them.
template <class TB>
__device__ __forceinline__ void find_weights(const WmlLoss<TB>& p, const Scratch& scratch,
                                             Shared<TB>& s) {
  const int lane = int(threadIdx.x);
  if (lane >= kWarpSize) return;
  std::int64_t pairs = 0;
  for (int i = lane; i < int(gridDim.x); i += kWarpSize) pairs += scratch.similar[i];
  pairs = warp_sum(pairs);
  const std::int64_t others = p.images * p.bank_rows - pairs;
  if (lane == 0) {
    s.weights[0] = pairs != 0 ? float(-1 / double(pairs)) : 0;
    s.weights[1] = others != 0 ? float(1 / double(others)) : 0;
    if (blockIdx.x == 0) {
      p.pairs[0] = pairs;
      p.pairs[1] = others;
    }
  }
}

/// The loss of the block's warps, added up in their order, to where it belongs.
template <class TB>
__device__ __forceinline__ void keep_loss(double of_lane, double* to, Shared<TB>& s) {
  const double mine = warp_sum(of_lane);
  if (threadIdx.x % kWarpSize == 0) s.loss[threadIdx.x / kWarpSize] = mine;
  __syncthreads();
  if (threadIdx.x == 0) {
    double sum = 0;
    for (const double of_warp : s.loss) sum += of_warp;
    *to = sum;
  }
}

__device__ __forceinline__ void keep_gradients(const Gradients& du, float* tile) {
  const int lane = int(threadIdx.x % kWarpSize), warp = int(threadIdx.x / kWarpSize);
  float* const to = tile + (warp * kImages + lane / 4) * kTile + lane % 4 * 2;
#pragma unroll
  for (int k = 0; k < kTile / 8; ++k) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      *reinterpret_cast<float2*>(to + half * 8 * kTile + k * 8) =
          make_float2(du[k][2 * half], du[k][2 * half + 1]);
    }
  }
}

template <class TB>
__global__ void __launch_bounds__(kThreads)
    wml_loss_kernel(const WmlLoss<TB> p, const Layout layout, const Scratch scratch, bool packed) {
  __shared__ Shared<TB> s;
  const auto grid = cooperative_groups::this_grid();
  const int image = int(threadIdx.x / kWarpSize) * kImages;  // of this warp, in the tile

  SimilarPairs<TB> find{p, s};
  Slice<TB> slice;
  const bool one_slice = p.bits <= kTile;
  const auto rows_of_chunk = std::int64_t{kRows} * layout.tiles_per_chunk;
  if (one_slice) {
    slice.fetch(p, rows_of_chunk * (int(blockIdx.x) / (layout.image_tiles * layout.bit_tiles)), 0,
                packed);
  }

  count_pairs(layout, scratch, s, find);
  auto arrival = grid.barrier_arrive();

  bool counted = false;
  for (int item = int(blockIdx.x); item < layout.items(); item += int(gridDim.x)) {
    const int part = item / layout.bit_tiles, gradient_bit = item % layout.bit_tiles * kTile;
    const int chunk = part / layout.image_tiles, image_tile = part % layout.image_tiles;
    const int first_image = image_tile * kTile + image;  // of this warp
    const bool busy = first_image < p.images;            // uniform in a warp
    const int gradient_bits = p.bits - gradient_bit;
    const std::int64_t begin = rows_of_chunk * chunk, end = min(p.bank_rows, begin + rows_of_chunk);
    Codes codes;
    if (one_slice) {
      load_codes(p, first_image, 0, packed, codes);
      if (item != int(blockIdx.x)) slice.fetch(p, begin, 0, packed);
    }
    double loss = 0;
    Gradients du = {};
    for (std::int64_t row = begin; row < end; row += kStep) {
      Theta theta = {};
      for (int first = 0; first < p.bits; first += kTile) {
        if (!one_slice) {
          slice.fetch(p, row, first, packed);
          load_codes(p, first_image, first, packed, codes);
        }
        slice.store(s.rows);
        if (one_slice && row + kStep < end) slice.fetch(p, row + kStep, 0, packed);
        if (busy) add_products(codes, s, p.bits - first, theta);
      }
      if (p.du != nullptr && !one_slice) {  // the last slice may be another one
        slice.fetch(p, row, gradient_bit, packed);
        slice.store(s.rows);
      }
      find(row / kRows, image_tile);
      if (!counted) {
        counted = true;
        __nanosleep(kPause);
        grid.barrier_wait(std::move(arrival));
        find_weights(p, scratch, s);
        __syncthreads();
      }
      if (!busy) continue;
      const Weights weights{s.weights[0], s.weights[1]};
      if (const auto left = p.bank_rows - row; left < kStep) leave_out(int(left), theta);
      see_pairs(p, s, weights, int(row % kRows), first_image, gradient_bits, theta, loss, du);
    }

    if (gradient_bit == 0) keep_loss(loss, scratch.losses + part, s);
    if (p.du != nullptr) {
      keep_gradients(du, scratch.gradients + std::int64_t{item} * kTile * kTile);
    }
  }
  arrival = grid.barrier_arrive();
  __nanosleep(kPause);
  grid.barrier_wait(std::move(arrival));
  add_chunks(p, layout, scratch, s);
}

}  // namespace

template <class TB>
std::size_t workspace_bytes(const WmlLoss<TB>& p) {
  Workspace measure(nullptr);
  Scratch(Layout(p), p.du != nullptr, measure);
  return measure.bytes();
}

template <class TB>
void run(const WmlLoss<TB>& p, StreamHandle stream) {
  p.validate();
  const Layout layout(p);
  Workspace workspace(p.workspace);
  const Scratch scratch(layout, p.du != nullptr, workspace);
  int device = 0, multiprocessors = 0;
  HH_CUDA_CHECK(cudaGetDevice(&device));
  HH_CUDA_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  cudaLaunchAttribute together{};
  together.id = cudaLaunchAttributeCooperative;
  together.val.cooperative = 1;
  cudaLaunchConfig_t config{};
  // One block is sure to fit on each.
  config.gridDim = unsigned(std::min(layout.items(), multiprocessors));
  config.blockDim = kThreads;
  config.stream = stream;
  config.attrs = &together;
  config.numAttrs = 1;
  const bool packed = p.bits % kVector<TB> == 0 && aligned16(p.u) && aligned16(p.bank);
  HH_CUDA_CHECK(cudaLaunchKernelEx(&config, wml_loss_kernel<TB>, p, layout, scratch, packed));
  HH_CHECK_LAUNCH(stream);
}

template std::size_t workspace_bytes(const WmlLoss<float>&);
template std::size_t workspace_bytes(const WmlLoss<f16>&);
template std::size_t workspace_bytes(const WmlLoss<bf16>&);
template void run(const WmlLoss<float>&, StreamHandle);
template void run(const WmlLoss<f16>&, StreamHandle);
template void run(const WmlLoss<bf16>&, StreamHandle);

}  // namespace hh::gpu
