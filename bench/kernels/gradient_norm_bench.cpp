// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/optimizer/gradient_norm.h"

namespace hh {

// All gradients of the micro preset (about 0.8 M) and of the network at full size (55.6 M).
HH_BENCHMARK(gradient_norm) {
  for (const auto [count_asked] : bench::shapes<1>("N", {{800'000}}, {{55'570'000}})) {
    const std::int64_t n = count_asked;
    const Tensor gradient = bench::zeros(device, n);
    const std::int64_t chunks = GradientSquares::chunks(n);
    const Tensor squares({chunks}, DType::f64, device), norm({1}, DType::f32, device),
        scale({1}, DType::f32, device), skip({1}, DType::i32, device);
    bench::measure(
        "gradient_squares/f32/" + std::to_string(n), device,
        GradientSquares{
            .gradient = gradient.data<float>(), .n = n, .squares = squares.data<double>()});
    bench::measure("gradient_norm/f64/" + std::to_string(chunks), device,
                   GradientNorm{.squares = squares.data<double>(),
                                .chunks = chunks,
                                .max_norm = 1,
                                .norm = norm.data<float>(),
                                .scale = scale.data<float>(),
                                .skip = skip.data<std::int32_t>()});
  }
}

}  // namespace hh
