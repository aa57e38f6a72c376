// SPDX-License-Identifier: Apache-2.0
// Mapping   One block per image of the batch. It leaves its row alone when a later image has the
//           same one, so no two blocks write the same place.
// Traffic   reads the batch and writes its rows once; the indices behind an image's are read too.
#include "kernels/core/device.cuh"
#include "kernels/loss/bank_update.h"

namespace hh::gpu {
namespace {

constexpr int kThreads = 64;

template <class TB>
__global__ void __launch_bounds__(kThreads) bank_update_kernel(const BankUpdate<TB> p) {
  const std::int64_t image = blockIdx.x, row = p.index[image];
  if (row < 0 || row >= p.bank_rows) return;
  bool later = false;
  for (std::int64_t i = image + 1 + threadIdx.x; i < p.images; i += kThreads) {
    later = later || p.index[i] == row;
  }
  if (__syncthreads_or(later)) return;
  for (int k = threadIdx.x; k < p.bits; k += kThreads) {
    p.bank[row * p.bits + k] = narrow<TB>(p.u[image * p.bits + k]);
  }
  for (int w = threadIdx.x; w < p.label_words; w += kThreads) {
    p.bank_labels[row * p.label_words + w] = p.labels[image * p.label_words + w];
  }
}

}  // namespace

template <class TB>
void run(const BankUpdate<TB>& p, StreamHandle stream) {
  p.validate();
  if (p.images == 0) return;
  bank_update_kernel<TB><<<grid_of(p.images), kThreads, 0, stream>>>(p);
  HH_CHECK_LAUNCH(stream);
}

template void run(const BankUpdate<float>&, StreamHandle);
template void run(const BankUpdate<f16>&, StreamHandle);
template void run(const BankUpdate<bf16>&, StreamHandle);

}  // namespace hh::gpu
