// SPDX-License-Identifier: Apache-2.0
// Idea    A block has 32 images and a chunk of the bank, 32 rows at a time in shared memory.
//         First a lane has a bank row and makes theta of four images; the slopes go to shared
//         memory. Then a thread has a bit of some images and adds slope times row over the
//         tile.
// Gains   The bank is read once for 32 images; no shuffles.
// Costs   Rows are 32 or 64 floats apart, so in the first step all lanes of a warp read the
//         same bank.
#pragma once
#include "bench/ladder/wml_loss_2_streaming.cuh"

namespace hh::ladder {

constexpr int kLossTile = 32;  // images, and bank rows

template <int kBits, int kPad>
__global__ void __launch_bounds__(kLossThreads)
    wml_loss_tiles_kernel(const Loss p, const LossChunks chunks) {
  constexpr int kPairs = kLossTile * kLossTile / kLossThreads;  // of a thread
  constexpr int kSums = kLossTile * kBits / kLossThreads;
  __shared__ float u[kLossTile][kBits + kPad], rows[kLossTile][kBits + kPad];
  __shared__ float slopes[kLossTile][kLossTile];  // [image, row]
  const int thread = int(threadIdx.x), first_image = int(blockIdx.x) * kLossTile;
  const int chunk = int(blockIdx.y);
  const auto load = [&](const float* from, std::int64_t first, std::int64_t end,
                        float(&to)[kLossTile][kBits + kPad]) {
    for (int i = thread; i < kLossTile * kBits; i += kLossThreads) {
      const std::int64_t r = first + i / kBits;
      to[i / kBits][i % kBits] = r < end ? from[r * kBits + i % kBits] : 0.0f;
    }
  };
  load(p.u, first_image, p.images, u);
  const std::int64_t begin = chunk * chunks.rows, end = min(begin + chunks.rows, p.bank_rows);
  float du[kSums] = {};
  double loss = 0;
  for (std::int64_t first = begin; first < end; first += kLossTile) {
    __syncthreads();  // the tile before has been used
    load(p.bank, first, end, rows);
    __syncthreads();
    const int r = thread % kLossTile;
#pragma unroll
    for (int n = 0; n < kPairs; ++n) {
      const int image = thread / kLossTile + n * (kLossThreads / kLossTile);
      float theta = 0, slope = 0;
#pragma unroll 8
      for (int k = 0; k < kBits; ++k) theta += u[image][k] * rows[r][k];
      if (first_image + image < p.images && first + r < end) {
        const PairTerms terms(p, p.alpha * theta, similar_pair(p, first_image + image, first + r));
        loss += terms.loss;
        slope = terms.slope;
      }
      slopes[image][r] = slope;
    }
    __syncthreads();
#pragma unroll
    for (int n = 0; n < kSums; ++n) {
      const int image = thread / kBits + n * (kLossThreads / kBits);
#pragma unroll 8
      for (int j = 0; j < kLossTile; ++j) du[n] += slopes[image][j] * rows[j][thread % kBits];
    }
  }
  loss = gpu::block_sum<kLossThreads>(loss);
  if (thread == 0) chunks.losses[chunk * int(gridDim.x) + int(blockIdx.x)] = loss;
#pragma unroll
  for (int n = 0; n < kSums; ++n) {
    const int image = first_image + thread / kBits + n * (kLossThreads / kBits);
    if (image >= p.images) continue;
    chunks.gradients[(std::int64_t{chunk} * p.images + image) * kBits + thread % kBits] = du[n];
  }
}

template <int kPad>
void wml_loss_tiles(const Loss& p, StreamHandle stream) {
  const LossChunks chunks(p);
  const int parts = gpu::ceil_div(p.images, kLossTile);
  count_pairs(p, stream);
  const auto kernel =
      p.bits == 32 ? wml_loss_tiles_kernel<32, kPad> : wml_loss_tiles_kernel<64, kPad>;
  kernel<<<dim3(unsigned(parts), unsigned(chunks.count)), kLossThreads, 0, stream>>>(p, chunks);
  HH_CHECK_LAUNCH(stream);
  add_up_chunks(p, chunks, parts, stream);
}

inline void wml_loss_shared_tiles(const Loss& p, StreamHandle stream) {
  wml_loss_tiles<0>(p, stream);
}

}  // namespace hh::ladder
