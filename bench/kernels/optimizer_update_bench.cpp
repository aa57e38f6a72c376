// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/optimizer/optimizer_update.h"

namespace hh {

// All parameters of the micro preset (about 0.8 M) and of the network at full size (55.6 M), in 265
// segments.
HH_BENCHMARK(optimizer_update) {
  for (const auto [count_asked] : bench::shapes<1>("N", {{800'000}}, {{55'570'000}})) {
    const std::int64_t n = count_asked;
    const Tensor weight = bench::zeros(device, n), gradient = bench::zeros(device, n),
                 mean = bench::zeros(device, n), square = bench::zeros(device, n),
                 copy = bench::zeros(device, n, DType::bf16);
    std::vector<OptimizerSegment> segments(265);
    const auto count = n / std::int64_t(segments.size());
    for (std::size_t s = 0; s < segments.size(); ++s) {
      segments[s] = {.begin = std::int64_t(s) * count, .count = count, .weight_decay = 1e-5f};
    }
    OptimizerArrays arrays{.weight = weight.data<float>(),
                           .gradient = gradient.data<float>(),
                           .segments = segments.data(),
                           .segment_count = int(segments.size()),
                           .learning_rate = 1e-3f};
    const std::string size = "/" + std::to_string(n);
    bench::measure("rmsprop_update/f32" + size, device,
                   RmspropUpdate{.arrays = arrays, .square = square.data<float>()});
    bench::measure(
        "adamw_update/f32" + size, device,
        AdamwUpdate{.arrays = arrays, .mean = mean.data<float>(), .square = square.data<float>()});
    bench::measure("sgd_update/f32" + size, device,
                   SgdUpdate{.arrays = arrays, .momentum_buffer = mean.data<float>()});
    arrays.copy = copy.data<bf16>();
    bench::measure("rmsprop_update/bf16_copy" + size, device,
                   RmspropUpdate{.arrays = arrays, .square = square.data<float>()});
  }
}

}  // namespace hh
