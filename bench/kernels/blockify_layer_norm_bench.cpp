// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/blockify/blockify_layer_norm.h"

namespace hh {
namespace {

template <class T>
void bench_shape(Device device, const char* type, const BlockGrid& s) {
  const auto tokens = std::size_t(s.tokens()), cols = std::size_t(s.channels), n = tokens * cols;
  const Tensor x = bench::normal<T>(device, n, 1), z = bench::normal<T>(device, n, 2),
               y = bench::normal<T>(device, n, 3), dx = bench::normal<T>(device, n, 4);
  const Tensor pos = bench::normal<float>(device, std::size_t(s.positions()) * cols, 5),
               gamma = bench::normal<float>(device, cols, 6),
               beta = bench::normal<float>(device, cols, 7);
  const Tensor mean = bench::normal<float>(device, tokens, 8),
               rstd = bench::normal<float>(device, tokens, 9);
  const std::string shape = std::string("/") + type + "/" + std::to_string(s.images) + "x" +
                            std::to_string(s.grid) + "x" + std::to_string(s.side) + "x" +
                            std::to_string(s.channels);
  bench::measure("blockify_layer_norm_forward" + shape, device,
                 BlockifyLayerNormForward<T>{.x = x.data<T>(),
                                             .pos = pos.data<float>(),
                                             .gamma = gamma.data<float>(),
                                             .beta = beta.data<float>(),
                                             .z = z.data<T>(),
                                             .y = y.data<T>(),
                                             .mean = mean.data<float>(),
                                             .rstd = rstd.data<float>(),
                                             .shape = s});
  bench::measure("blockify_layer_norm_backward" + shape, device,
                 BlockifyLayerNormBackward<T>{.dz = x.data<T>(),
                                              .dy = y.data<T>(),
                                              .z = z.data<T>(),
                                              .gamma = gamma.data<float>(),
                                              .mean = mean.data<float>(),
                                              .rstd = rstd.data<float>(),
                                              .dx = dx.data<T>(),
                                              .dpos = pos.data<float>(),
                                              .dgamma = gamma.data<float>(),
                                              .dbeta = beta.data<float>(),
                                              .shape = s});
}

}  // namespace

// The levels of the micro preset at batch 64 and of the paper's network at batch 8.
HH_BENCHMARK(blockify_layer_norm) {
  const auto shapes = bench::shapes<4>("BGSC", {{64, 4, 4, 32}, {64, 2, 4, 64}, {64, 1, 4, 128}},
                                       {{8, 4, 14, 128}, {8, 2, 14, 256}, {8, 1, 14, 512}});
  for (const auto [b, g, s, c] : shapes) {
    const BlockGrid shape{b, g, s, c};
    bench::for_each_type(
        device, [&]<class T>(T, const char* type) { bench_shape<T>(device, type, shape); });
  }
}

}  // namespace hh
