// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/optimizer/shard_sum.h"

namespace hh {

// A shard of the micro preset's gradients on two processes, and of the network at full size on
// eight.
HH_BENCHMARK(shard_sum) {
  for (const auto [ranks, n] : bench::shapes<2>("RN", {{2, 400'000}}, {{8, 6'946'250}})) {
    const Tensor parts = bench::normal<float>(device, std::size_t(ranks * n), 1);
    const Tensor sum({n}, DType::f32, device);
    bench::measure(
        "shard_sum/f32/" + std::to_string(ranks) + "x" + std::to_string(n), device,
        ShardSum{
            .parts = parts.data<float>(), .sum = sum.data<float>(), .ranks = int(ranks), .n = n});
  }
}

}  // namespace hh
