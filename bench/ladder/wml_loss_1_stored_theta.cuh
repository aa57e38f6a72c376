// SPDX-License-Identifier: Apache-2.0
// Idea    The formula, a kernel for each of its steps: the count of pairs, theta as a batch x
//         bank array, the loss from it, the gradient from it.
// Costs   theta goes to memory and comes back, once for the loss and once for each bit of the
//         gradient, and with it softplus and sigmoid are calculated again. One block adds up
//         the loss.
#pragma once
#include "bench/ladder/wml_loss_pairs.cuh"

namespace hh::ladder {

static __global__ void __launch_bounds__(kLossThreads)
    wml_loss_theta_kernel(const Loss p, std::int64_t count) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kLossThreads + threadIdx.x;
  if (i >= count) return;
  const float* u = p.u + i / p.bank_rows * p.bits;
  const float* row = p.bank + i % p.bank_rows * p.bits;
  float theta = 0;
  for (int k = 0; k < p.bits; ++k) theta += u[k] * row[k];
  static_cast<float*>(p.workspace)[i] = p.alpha * theta;
}

static __global__ void __launch_bounds__(kLossThreads)
    wml_loss_sum_kernel(const Loss p, std::int64_t count) {
  const float* theta = static_cast<const float*>(p.workspace);
  double loss = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += kLossThreads) {
    const int image = int(i / p.bank_rows);
    loss += PairTerms(p, theta[i], similar_pair(p, image, i % p.bank_rows)).loss;
  }
  loss = gpu::block_sum<kLossThreads>(loss);
  if (threadIdx.x == 0) *p.loss = float(loss);
}

static __global__ void __launch_bounds__(kLossThreads) wml_loss_gradient_kernel(const Loss p) {
  const int i = int(blockIdx.x) * kLossThreads + int(threadIdx.x);
  if (i >= p.images * p.bits) return;
  const int image = i / p.bits, k = i % p.bits;
  const float* theta = static_cast<const float*>(p.workspace) + image * p.bank_rows;
  float du = 0;
  for (std::int64_t j = 0; j < p.bank_rows; ++j) {
    du += PairTerms(p, theta[j], similar_pair(p, image, j)).slope * p.bank[j * p.bits + k];
  }
  p.du[i] = p.alpha * du;
}

inline std::size_t wml_loss_theta_bytes(const Loss& p) {
  return std::size_t(p.images) * std::size_t(p.bank_rows) * sizeof(float);
}

inline void wml_loss_stored_theta(const Loss& p, StreamHandle stream) {
  const std::int64_t count = p.images * p.bank_rows;
  count_pairs(p, stream);
  gpu::launch(wml_loss_theta_kernel, gpu::ceil_div(count, std::int64_t{kLossThreads}), kLossThreads,
              0, stream, p, count);
  gpu::launch(wml_loss_sum_kernel, 1, kLossThreads, 0, stream, p, count);
  gpu::launch(wml_loss_gradient_kernel, gpu::ceil_div(p.images * p.bits, kLossThreads),
              kLossThreads, 0, stream, p);
}

}  // namespace hh::ladder
