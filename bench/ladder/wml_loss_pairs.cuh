// SPDX-License-Identifier: Apache-2.0
// What all rungs do with a pair of an image and a bank row, and the count of similar pairs.
#pragma once
#include "bench/ladder/rung.h"
#include "kernels/core/device.cuh"
#include "kernels/core/launch.cuh"

namespace hh::ladder {

constexpr int kLossThreads = 256;

__device__ inline bool similar_pair(const Loss& p, int image, std::int64_t row) {
  unsigned long long shared = 0;
  for (int w = 0; w < p.label_words; ++w) {
    shared |=
        p.labels[std::int64_t{image} * p.label_words + w] & p.bank_labels[row * p.label_words + w];
  }
  return shared != 0;
}

/// A pair's loss and its derivative by theta, both times 1/S1 or 1/S0.
struct PairTerms {
  float loss, slope;
  __device__ PairTerms(const Loss& p, float theta, bool similar) {
    const float weight = 1.0f / float(p.pairs[similar ? 0 : 1]);
    // In x both kinds of pair are alike, and nothing cancels.
    const float x = similar ? -theta : theta, e = expf(-fabsf(x));
    loss = weight * (log1pf(e) + fmaxf(x, 0.0f));
    const float sigmoid = (x > 0 ? 1.0f : e) / (1 + e);
    slope = weight * (similar ? -sigmoid : sigmoid);
    if (theta == 0) slope = similar ? 0 : weight;  // PyTorch's choice at the kink
  }
};

/// One block: the weights of all pairs need the counts first.
static __global__ void __launch_bounds__(kLossThreads) wml_loss_pairs_kernel(const Loss p) {
  const std::int64_t count = p.images * p.bank_rows;
  long long similar = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += kLossThreads) {
    similar += similar_pair(p, int(i / p.bank_rows), i % p.bank_rows);
  }
  similar = gpu::block_sum<kLossThreads>(similar);
  if (threadIdx.x != 0) return;
  p.pairs[0] = similar;
  p.pairs[1] = count - similar;
}

inline void count_pairs(const Loss& p, StreamHandle stream) {
  gpu::launch(wml_loss_pairs_kernel, 1, kLossThreads, 0, stream, p);
}

}  // namespace hh::ladder
