// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/hamming/pack_codes.h"

namespace hh {

HH_BENCHMARK(pack_codes) {
  for (const auto& [count, bits] : {std::pair{256, 64}, std::pair{64000, 32}}) {
    const auto n = std::size_t(count) * std::size_t(bits);
    const Tensor values = bench::normal<float>(device, n, 1);
    const Tensor words = Tensor::zeros({count}, DType::u64, device);
    bench::measure("pack_codes/" + std::to_string(count) + "x" + std::to_string(bits), device,
                   PackCodes{.values = values.data<float>(),
                             .words = words.data<std::uint64_t>(),
                             .count = count,
                             .bits = bits});
  }
}

}  // namespace hh
