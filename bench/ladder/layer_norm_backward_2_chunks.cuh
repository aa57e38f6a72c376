// SPDX-License-Identifier: Apache-2.0
// Idea    Rows in chunks: a thread has a column of one chunk and leaves its sums in memory; a third
//         kernel adds up the chunks in order. No atomics, so the same bits every time.
// Gains   Work for every multiprocessor.
// Costs   All inputs are still read twice.
#pragma once
#include "bench/ladder/layer_norm_backward_1_two_passes.cuh"
#include "kernels/core/column_sum.cuh"

namespace hh::ladder {

/// Where sums of a part of the rows go: part k's of gamma, beta and bias begin at partials + 3 k
/// cols.
struct LayerNormPartials {
  float* at;
  std::int64_t count;

  static std::size_t bytes(const LayerNormBackward& p, std::int64_t count) {
    return 3 * std::size_t(count) * std::size_t(p.cols) * sizeof(float);
  }
  __device__ void leave(std::int64_t part, int cols, int c, const LayerNormSums& sums) const {
    float* to = at + part * 3 * cols + c;
    to[0] = sums.gamma;
    to[cols] = sums.beta;
    to[2 * cols] = sums.bias;
  }
  void add_up(const LayerNormBackward& p, StreamHandle stream) const {
    gpu::finish_sums({.rows = at,
                      .count = count,
                      .arrays = 3,
                      .cols = p.cols,
                      .to = {p.dgamma, p.dbeta, p.dbias}},
                     nullptr, stream);
  }
};

static __global__ void layer_norm_backward_chunks_kernel(const LayerNormBackward p,
                                                         const LayerNormMeans means,
                                                         const LayerNormPartials partials,
                                                         std::int64_t rows) {
  const std::int64_t begin = blockIdx.x * rows, end = min(begin + rows, p.rows);
  for (int c = int(threadIdx.x); c < p.cols; c += kLayerNormColumns) {
    partials.leave(blockIdx.x, p.cols, c, layer_norm_column(p, means, c, begin, end));
  }
}

inline std::size_t layer_norm_chunk_bytes(const LayerNormBackward& p) {
  return LayerNormMeans::bytes(p) +
         LayerNormPartials::bytes(p, gpu::RowBlocks(p.rows, p.cols).blocks);
}

inline void layer_norm_backward_chunks(const LayerNormBackward& p, StreamHandle stream) {
  const gpu::RowBlocks chunks(p.rows, p.cols);
  const LayerNormMeans means(p);
  const LayerNormPartials partials{means.gh + p.rows, chunks.blocks};
  layer_norm_backward_rows(p, stream);
  gpu::launch(layer_norm_backward_chunks_kernel, chunks.blocks, kLayerNormColumns, 0, stream, p,
              means, partials, chunks.rows);
  partials.add_up(p, stream);
}

}  // namespace hh::ladder
