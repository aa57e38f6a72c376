// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/interaction/block_average_pool.h"

namespace hh {
namespace {

template <class T>
void bench_shape(Device device, const char* type, int b, int g, int s, int c) {
  const std::size_t outputs = std::size_t(b) * std::size_t(g * g * c);
  const std::size_t inputs = outputs * std::size_t(s * s);
  const Tensor x = bench::normal<T>(device, inputs, 1);
  const Tensor y = bench::normal<T>(device, outputs, 2);
  const std::string shape = std::string("/") + type + "/" + std::to_string(b) + "x" +
                            std::to_string(g) + "x" + std::to_string(s) + "x" + std::to_string(c);
  bench::measure(
      "block_average_pool_forward" + shape, device,
      BlockAveragePoolForward<T>{
          .x = x.data<T>(), .y = y.data<T>(), .images = b, .grid = g, .side = s, .channels = c});
  bench::measure(
      "block_average_pool_backward" + shape, device,
      BlockAveragePoolBackward<T>{
          .dy = y.data<T>(), .dx = x.data<T>(), .images = b, .grid = g, .side = s, .channels = c});
}

}  // namespace

// Images x grid x side x channels: the micro preset's levels at batch 64, the paper's at batch 2
// and 8 (after conv_glo), and the paper's hash layer.
HH_BENCHMARK(block_average_pool) {
  const auto shapes =
      bench::shapes<4>("BGSC", {{64, 4, 4, 64}, {64, 2, 4, 128}},
                       {{2, 4, 14, 256}, {8, 4, 14, 256}, {8, 2, 14, 512}, {8, 1, 14, 512}});
  for (const auto [b, g, s, c] : shapes) {
    bench::for_each_type(
        device, [&]<class T>(T, const char* type) { bench_shape<T>(device, type, b, g, s, c); });
  }
}

}  // namespace hh
