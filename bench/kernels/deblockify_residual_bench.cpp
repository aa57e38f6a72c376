// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/blockify/deblockify_residual.h"

namespace hh {
namespace {

template <class T>
void bench_shape(Device device, const char* type, const BlockGrid& s) {
  const auto cols = std::size_t(s.channels), n = std::size_t(s.tokens()) * cols;
  const Tensor z = bench::normal<T>(device, n, 1), branch = bench::normal<T>(device, n, 2),
               out = bench::normal<T>(device, n, 3);
  const Tensor bias = bench::normal<float>(device, cols, 4),
               scale = bench::normal<float>(device, std::size_t(s.images), 5);
  const std::string shape = std::string("/") + type + "/" + std::to_string(s.images) + "x" +
                            std::to_string(s.grid) + "x" + std::to_string(s.side) + "x" +
                            std::to_string(s.channels);
  bench::measure("deblockify_residual_forward" + shape, device,
                 DeblockifyResidualForward<T>{.z = z.data<T>(),
                                              .branch = branch.data<T>(),
                                              .bias = bias.data<float>(),
                                              .image_scale = scale.data<float>(),
                                              .out = out.data<T>(),
                                              .shape = s});
  bench::measure("deblockify_residual_backward" + shape, device,
                 DeblockifyResidualBackward<T>{.dout = out.data<T>(),
                                               .image_scale = scale.data<float>(),
                                               .dz = z.data<T>(),
                                               .dbranch = branch.data<T>(),
                                               .dbias = bias.data<float>(),
                                               .shape = s});
}

}  // namespace

// The levels of the micro preset at batch 64 and of the paper's network at batch 8.
HH_BENCHMARK(deblockify_residual) {
  const auto shapes = bench::shapes<4>("BGSC", {{64, 4, 4, 32}, {64, 2, 4, 64}, {64, 1, 4, 128}},
                                       {{8, 4, 14, 128}, {8, 2, 14, 256}, {8, 1, 14, 512}});
  for (const auto [b, g, s, c] : shapes) {
    const BlockGrid shape{b, g, s, c};
    bench::for_each_type(
        device, [&]<class T>(T, const char* type) { bench_shape<T>(device, type, shape); });
  }
}

}  // namespace hh
