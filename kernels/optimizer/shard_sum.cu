// SPDX-License-Identifier: Apache-2.0
// Mapping   One thread per 16 bytes of the sum, which reads them of each part in turn; rows off a
//           16-byte boundary and the odd end go one by one.
// Traffic   reads each part once and writes the sum.
#include "kernels/core/device.cuh"
#include "kernels/optimizer/shard_sum.h"

namespace hh::gpu {
namespace {

constexpr int kThreads = 256;

/// The sums of `packs` packs of kCount elements from element `first` on.
template <int kCount>
__global__ void __launch_bounds__(kThreads)
    shard_sum_kernel(const ShardSum p, std::int64_t first, std::int64_t packs) {
  const std::int64_t pack = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (pack >= packs) return;
  const std::int64_t i = first + pack * kCount;
  float sum[kCount], part[kCount];
  load_floats(p.parts + i, sum);
#pragma unroll 4
  for (int r = 1; r < p.ranks; ++r) {
    load_floats(p.parts + r * p.n + i, part);
#pragma unroll
    for (int k = 0; k < kCount; ++k) sum[k] += part[k];
  }
  store_floats(sum, p.sum + i);
}

template <int kCount>
void launch(const ShardSum& p, std::int64_t first, StreamHandle stream) {
  const std::int64_t packs = (p.n - first) / kCount;
  if (packs == 0) return;
  shard_sum_kernel<kCount>
      <<<grid_of(ceil_div(packs, kThreads)), kThreads, 0, stream>>>(p, first, packs);
  HH_CHECK_LAUNCH(stream);
}

}  // namespace

void run(const ShardSum& p, StreamHandle stream) {
  p.validate();
  const bool packed = aligned16(p.parts) && aligned16(p.sum) && (p.ranks == 1 || p.n % 4 == 0);
  if (packed) launch<4>(p, 0, stream);
  launch<1>(p, packed ? p.n / 4 * 4 : 0, stream);
}

}  // namespace hh::gpu
