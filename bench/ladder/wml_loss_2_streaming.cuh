// SPDX-License-Identifier: Apache-2.0
// Idea    One pass: a warp has an image and a chunk of the bank, a lane every 32nd bit. For
//         each bank row the warp sums theta, and at once adds the row, times the slope, to its
//         gradient in registers. Chunks leave partial sums, which the last kernel adds up in
//         order.
// Gains   theta is never stored, and a pair is seen once.
// Costs   Each image reads the whole bank; five shuffles for every K products.
#pragma once
#include "bench/ladder/wml_loss_pairs.cuh"

namespace hh::ladder {

/// How the bank is cut, and the partial sums in the workspace.
struct LossChunks {
  static constexpr int kMost = 64;
  explicit LossChunks(const Loss& p)
      : rows(gpu::ceil_div(gpu::ceil_div(p.bank_rows, std::int64_t{kMost}), std::int64_t{32}) * 32),
        count(int(gpu::ceil_div(p.bank_rows, rows))),
        losses(static_cast<double*>(p.workspace)),
        gradients(reinterpret_cast<float*>(losses + std::int64_t{count} * p.images)) {}
  std::int64_t rows;  // of a chunk, a multiple of 32
  int count;
  double* losses;    // [chunk, part of the batch], at most a part for each image
  float* gradients;  // [chunk, image, bit]
};

static __global__ void __launch_bounds__(kLossThreads)
    wml_loss_chunk_sums_kernel(const Loss p, const LossChunks chunks, int parts) {
  if (blockIdx.x == 0) {
    double loss = 0;
    for (int i = threadIdx.x; i < chunks.count * parts; i += kLossThreads) {
      loss += chunks.losses[i];
    }
    loss = gpu::block_sum<kLossThreads>(loss);
    if (threadIdx.x == 0) *p.loss = float(loss);
    return;
  }
  const int i = (int(blockIdx.x) - 1) * kLossThreads + int(threadIdx.x);
  const std::int64_t size = std::int64_t{p.images} * p.bits;
  if (i >= size) return;
  float du = 0;
  for (int chunk = 0; chunk < chunks.count; ++chunk) du += chunks.gradients[chunk * size + i];
  p.du[i] = p.alpha * du;
}

/// `parts`: losses that each chunk has left.
inline void add_up_chunks(const Loss& p, const LossChunks& chunks, int parts, StreamHandle stream) {
  gpu::launch(wml_loss_chunk_sums_kernel, 1 + gpu::ceil_div(p.images * p.bits, kLossThreads),
              kLossThreads, 0, stream, p, chunks, parts);
}

template <int kItems>  // bits of a lane
__global__ void wml_loss_streaming_kernel(const Loss p, const LossChunks chunks) {
  const int lane = int(threadIdx.x), image = int(blockIdx.x), chunk = int(blockIdx.y);
  const std::int64_t begin = chunk * chunks.rows, end = min(begin + chunks.rows, p.bank_rows);
  float u[kItems], du[kItems] = {};
#pragma unroll
  for (int i = 0; i < kItems; ++i) u[i] = p.u[image * p.bits + i * gpu::kWarpSize + lane];
  double loss = 0;
  for (std::int64_t j = begin; j < end; ++j) {
    float row[kItems], theta = 0;
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      row[i] = p.bank[j * p.bits + i * gpu::kWarpSize + lane];
      theta += u[i] * row[i];
    }
    const PairTerms terms(p, p.alpha * gpu::warp_sum(theta), similar_pair(p, image, j));
    loss += terms.loss;
#pragma unroll
    for (int i = 0; i < kItems; ++i) du[i] += terms.slope * row[i];
  }
  if (lane == 0) chunks.losses[chunk * p.images + image] = loss;
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    chunks
        .gradients[(std::int64_t{chunk} * p.images + image) * p.bits + i * gpu::kWarpSize + lane] =
        du[i];
  }
}

inline std::size_t wml_loss_chunk_bytes(const Loss& p) {
  const std::size_t parts = std::size_t(LossChunks(p).count) * std::size_t(p.images);
  return parts * (sizeof(double) + std::size_t(p.bits) * sizeof(float));
}

inline void wml_loss_streaming(const Loss& p, StreamHandle stream) {
  const LossChunks chunks(p);
  count_pairs(p, stream);
  const auto kernel = p.bits == 32 ? wml_loss_streaming_kernel<1> : wml_loss_streaming_kernel<2>;
  kernel<<<dim3(unsigned(p.images), unsigned(chunks.count)), gpu::kWarpSize, 0, stream>>>(p,
                                                                                          chunks);
  HH_CHECK_LAUNCH(stream);
  add_up_chunks(p, chunks, p.images, stream);
}

}  // namespace hh::ladder
