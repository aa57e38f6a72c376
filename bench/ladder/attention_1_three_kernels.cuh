// SPDX-License-Identifier: Apache-2.0
// Idea    The formula, a kernel for each of its steps: scores S, softmax in the place of S, P
//         v. A thread an element of S or out, a thread a row of the softmax.
// Costs   The N x N matrix goes to memory and comes back several times, in float32.
#pragma once
#include "bench/ladder/attention_rows.cuh"

namespace hh::ladder {

constexpr int kNaiveThreads = 128;

static __global__ void attention_scores_kernel(const Attention p, std::int64_t count) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kNaiveThreads + threadIdx.x;
  if (i >= count) return;
  const int n = p.shape.tokens, key = int(i % n), query = int(i / n % n);
  const AttentionHead head(p.shape, i / n / n);
  const bf16* q = p.qkv + head.q(query);
  const bf16* k = p.qkv + head.q(key) + head.channels();
  float s = 0;
  for (int e = 0; e < kHeadDim; ++e) s += gpu::widen(q[e]) * gpu::widen(k[e]);
  static_cast<float*>(p.workspace)[i] = s * rsqrtf(float(kHeadDim));
}

static __global__ void attention_softmax_kernel(const Attention p, std::int64_t rows) {
  const std::int64_t row = std::int64_t{blockIdx.x} * kNaiveThreads + threadIdx.x;
  if (row >= rows) return;
  const int n = p.shape.tokens;
  float* s = static_cast<float*>(p.workspace) + row * n;
  float top = -INFINITY, sum = 0;
  for (int m = 0; m < n; ++m) top = fmaxf(top, s[m]);
  for (int m = 0; m < n; ++m) sum += s[m] = expf(s[m] - top);
  for (int m = 0; m < n; ++m) s[m] /= sum;
  p.lse[row] = top + logf(sum);  // rows of S lie as those of lse
}

static __global__ void attention_output_kernel(const Attention p, std::int64_t count) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kNaiveThreads + threadIdx.x;
  if (i >= count) return;
  const std::int64_t row = i / kHeadDim;
  const int n = p.shape.tokens, e = int(i % kHeadDim), query = int(row % n);
  const AttentionHead head(p.shape, row / n);
  const float* weights = static_cast<const float*>(p.workspace) + row * n;
  float o = 0;
  for (int m = 0; m < n; ++m) {
    o += weights[m] * gpu::widen(p.qkv[head.q(m) + 2 * head.channels() + e]);
  }
  p.out[head.out(query, e)] = gpu::narrow<bf16>(o);
}

inline std::size_t attention_scores_bytes(const Attention& p) {
  return std::size_t(attention_instances(p)) * std::size_t(p.shape.tokens) *
         std::size_t(p.shape.tokens) * sizeof(float);
}

inline void attention_three_kernels(const Attention& p, StreamHandle stream) {
  const std::int64_t rows = attention_instances(p) * p.shape.tokens;
  const auto run = [&](auto kernel, std::int64_t threads) {
    gpu::launch(kernel, gpu::ceil_div(threads, std::int64_t{kNaiveThreads}), kNaiveThreads, 0,
                stream, p, threads);
  };
  run(attention_scores_kernel, rows * p.shape.tokens);
  run(attention_softmax_kernel, rows);
  run(attention_output_kernel, rows * kHeadDim);
}

}  // namespace hh::ladder
