// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/layer_norm/residual_layer_norm.h"

namespace hh {
namespace {

template <class T>
void bench_shape(Device device, const char* type, int images, int rows_per_image, int cols) {
  const std::int64_t rows = std::int64_t{images} * rows_per_image;
  const auto n = std::size_t(rows * cols);
  const Tensor residual = bench::normal<T>(device, n, 1), branch = bench::normal<T>(device, n, 2),
               z = bench::normal<T>(device, n, 3), y = bench::normal<T>(device, n, 4);
  const auto parameter = [&](std::uint64_t seed) {
    return bench::normal<float>(device, std::size_t(cols), seed);
  };
  const Tensor bias = parameter(5), gamma = parameter(6), beta = parameter(7);
  const Tensor scale = bench::normal<float>(device, std::size_t(images), 8);
  const Tensor mean = bench::normal<float>(device, std::size_t(rows), 9),
               rstd = bench::normal<float>(device, std::size_t(rows), 10);
  const std::string shape =
      std::string("/") + type + "/" + std::to_string(rows) + "x" + std::to_string(cols);
  bench::measure("residual_layer_norm_forward" + shape, device,
                 ResidualLayerNormForward<T>{.residual = residual.data<T>(),
                                             .branch = branch.data<T>(),
                                             .bias = bias.data<float>(),
                                             .image_scale = scale.data<float>(),
                                             .gamma = gamma.data<float>(),
                                             .beta = beta.data<float>(),
                                             .z = z.data<T>(),
                                             .y = y.data<T>(),
                                             .mean = mean.data<float>(),
                                             .rstd = rstd.data<float>(),
                                             .rows = rows,
                                             .rows_per_image = rows_per_image,
                                             .cols = cols});
  const Tensor dresidual = bench::normal<T>(device, n, 11),
               dbranch = bench::normal<T>(device, n, 12);
  bench::measure("residual_layer_norm_backward" + shape, device,
                 ResidualLayerNormBackward<T>{.dz = residual.data<T>(),
                                              .dy = branch.data<T>(),
                                              .z = z.data<T>(),
                                              .image_scale = scale.data<float>(),
                                              .gamma = gamma.data<float>(),
                                              .mean = mean.data<float>(),
                                              .rstd = rstd.data<float>(),
                                              .dresidual = dresidual.data<T>(),
                                              .dbranch = dbranch.data<T>(),
                                              .dbias = bias.data<float>(),
                                              .dgamma = gamma.data<float>(),
                                              .dbeta = beta.data<float>(),
                                              .rows = rows,
                                              .rows_per_image = rows_per_image,
                                              .cols = cols});
}

}  // namespace

// Images, rows of each, channels: the micro preset at batch 64 and the paper's at batch 8.
HH_BENCHMARK(residual_layer_norm) {
  const auto shapes = bench::shapes<3>("BTC", {{64, 256, 32}, {64, 64, 64}, {64, 16, 128}},
                                       {{8, 3136, 128}, {8, 784, 256}, {8, 196, 512}});
  for (const auto [images, rows, cols] : shapes) {
    bench::for_each_type(device, [&]<class T>(T, const char* type) {
      bench_shape<T>(device, type, images, rows, cols);
    });
  }
}

}  // namespace hh
