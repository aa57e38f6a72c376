// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/interaction/interaction_merge.h"

namespace hh {
namespace {

template <class T>
void bench_shape(Device device, const char* type, const InteractionMergeShape& shape) {
  const auto [b, m, s, c] = shape;
  const std::size_t pixels = std::size_t(b) * std::size_t(m * s * m * s);
  const std::size_t map = pixels * std::size_t(c), windows = map / 4;
  const std::size_t grid = std::size_t(b) * std::size_t(m * m * c);
  const Tensor local = bench::normal<T>(device, map, 1);
  const Tensor dlocal = bench::normal<T>(device, map, 2);
  const Tensor glob = bench::normal<T>(device, grid, 3);
  const Tensor dglob = bench::normal<T>(device, grid, 4);
  const Tensor gamma = bench::normal<float>(device, std::size_t(c), 5);
  const Tensor beta = bench::normal<float>(device, std::size_t(c), 6);
  const Tensor dgamma = Tensor::zeros({c}, DType::f32, device);
  const Tensor dbeta = Tensor::zeros({c}, DType::f32, device);
  const Tensor out = bench::normal<T>(device, windows, 7);
  const Tensor argmax({std::int64_t(windows)}, DType::u8, device);
  const Tensor mean({std::int64_t(pixels)}, DType::f32, device);
  const Tensor rstd({std::int64_t(pixels)}, DType::f32, device);
  const std::string name = std::string("/") + type + "/" + std::to_string(b) + "x" +
                           std::to_string(m) + "x" + std::to_string(s) + "x" + std::to_string(c);
  InteractionMergeForward<T> forward{.local = local.data<T>(),
                                     .glob = glob.data<T>(),
                                     .gamma = gamma.data<float>(),
                                     .beta = beta.data<float>(),
                                     .out = out.data<T>(),
                                     .argmax = argmax.data<std::uint8_t>(),
                                     .mean = mean.data<float>(),
                                     .rstd = rstd.data<float>(),
                                     .shape = shape};
  bench::measure("interaction_merge_forward" + name, device, forward);
  bench::measure("interaction_merge_backward" + name, device,
                 InteractionMergeBackward<T>{.dout = out.data<T>(),
                                             .argmax = argmax.data<std::uint8_t>(),
                                             .local = local.data<T>(),
                                             .glob = glob.data<T>(),
                                             .gamma = gamma.data<float>(),
                                             .mean = mean.data<float>(),
                                             .rstd = rstd.data<float>(),
                                             .dlocal = dlocal.data<T>(),
                                             .dglob = dglob.data<T>(),
                                             .dgamma = dgamma.data<float>(),
                                             .dbeta = dbeta.data<float>(),
                                             .shape = shape});
  forward.argmax = nullptr;
  forward.mean = forward.rstd = nullptr;
  bench::measure("interaction_merge_inference" + name, device, forward);
}

}  // namespace

// Images x grid x factor x channels: the micro preset's levels at batch 64, the paper's at batch 2
// and 8.
HH_BENCHMARK(interaction_merge) {
  const auto shapes =
      bench::shapes<4>("BGSC", {{64, 4, 4, 64}, {64, 2, 4, 128}},
                       {{2, 4, 14, 256}, {8, 4, 14, 256}, {2, 2, 14, 512}, {8, 2, 14, 512}});
  for (const auto [b, m, s, c] : shapes) {
    const InteractionMergeShape shape{b, m, s, c};
    bench::for_each_type(
        device, [&]<class T>(T, const char* type) { bench_shape<T>(device, type, shape); });
  }
}

}  // namespace hh
