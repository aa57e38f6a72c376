// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/linear/bias_gelu.h"

namespace hh {
namespace {

template <class T>
void bench_shape(Device device, const char* type, int rows, int cols) {
  const auto n = std::size_t(rows) * std::size_t(cols);
  const Tensor x = bench::normal<T>(device, n, 1), dy = bench::normal<T>(device, n, 2),
               y = bench::normal<T>(device, n, 3);
  const Tensor bias = bench::normal<float>(device, std::size_t(cols), 4),
               dbias = bench::normal<float>(device, std::size_t(cols), 5);
  const std::string shape =
      std::string("/") + type + "/" + std::to_string(rows) + "x" + std::to_string(cols);
  bench::measure("bias_gelu_forward" + shape, device,
                 BiasGeluForward<T>{.x = x.data<T>(),
                                    .bias = bias.data<float>(),
                                    .y = y.data<T>(),
                                    .rows = rows,
                                    .cols = cols});
  bench::measure("bias_gelu_backward" + shape, device,
                 BiasGeluBackward<T>{.x = x.data<T>(),
                                     .bias = bias.data<float>(),
                                     .dy = dy.data<T>(),
                                     .dx = y.data<T>(),
                                     .dbias = dbias.data<float>(),
                                     .rows = rows,
                                     .cols = cols});
}

}  // namespace

// Tokens x 4 C: the micro preset at batch 64 and the paper's at batch 2.
HH_BENCHMARK(bias_gelu) {
  const auto shapes = bench::shapes<2>("TC", {{64 * 256, 128}, {64 * 64, 256}, {64 * 16, 512}},
                                       {{2 * 3136, 512}, {2 * 784, 1024}, {2 * 196, 2048}});
  for (const auto [rows, cols] : shapes) {
    bench::for_each_type(
        device, [&]<class T>(T, const char* type) { bench_shape<T>(device, type, rows, cols); });
  }
}

}  // namespace hh
