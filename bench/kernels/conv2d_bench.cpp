// SPDX-License-Identifier: Apache-2.0
#include "bench/kernels/conv2d_shapes.h"
#include "bench/support/harness.h"
#include "kernels/conv/conv2d.h"

namespace hh {
namespace {

template <class T>
void measure_all(Device device, const std::string& type, const Conv2dShape& s) {
  const auto pixels = std::size_t(s.pixels()), weights = std::size_t(s.weights());
  const std::size_t nx = pixels * std::size_t(s.in_channels);
  const std::size_t ny = pixels * std::size_t(s.out_channels);
  const Tensor x = bench::normal<T>(device, nx, 1), y = bench::normal<T>(device, ny, 2);
  const Tensor weight = bench::normal<T>(device, weights, 3);
  const Tensor bias = bench::normal<T>(device, std::size_t(s.out_channels), 4);
  const Tensor dbias = bench::normal<float>(device, std::size_t(s.out_channels), 4);
  const Tensor dweight = bench::normal<float>(device, weights, 5);
  const auto text = [](int n) { return std::to_string(n); };
  const std::string shape = "/" + type + "/" + text(s.images) + "x" + text(s.height) + "x" +
                            text(s.width) + "x" + text(s.in_channels) + "->" +
                            text(s.out_channels) + "/" + text(s.kernel_h) + "x" + text(s.kernel_w);
  bench::measure("conv2d_forward" + shape, device,
                 Conv2dForward<T>{.x = x.data<T>(),
                                  .weight = weight.data<T>(),
                                  .bias = bias.data<T>(),
                                  .y = y.data<T>(),
                                  .shape = s});
  bench::measure("conv2d_backward_input" + shape, device,
                 Conv2dBackwardInput<T>{
                     .dy = y.data<T>(), .weight = weight.data<T>(), .dx = x.data<T>(), .shape = s});
  bench::measure("conv2d_backward_weight" + shape, device,
                 Conv2dBackwardWeight<T>{.x = x.data<T>(),
                                         .dy = y.data<T>(),
                                         .dweight = dweight.data<float>(),
                                         .dbias = dbias.data<float>(),
                                         .shape = s});
}

}  // namespace

HH_BENCHMARK(conv2d) {
  for (const Conv2dShape& s : bench::conv2d_shapes()) {
    measure_all<float>(device, "f32", s);
    measure_all<bf16>(device, "bf16", s);
  }
}

}  // namespace hh
