// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/linear/linear.h"

namespace hh {
namespace {

template <class T>
void measure_all(Device device, const std::string& type, std::int64_t rows, int in, int out) {
  const std::size_t n = std::size_t(rows), ni = std::size_t(in), no = std::size_t(out);
  const Tensor x = bench::normal<T>(device, n * ni, 1), y = bench::normal<T>(device, n * no, 2);
  const Tensor weight = bench::normal<T>(device, ni * no, 3);
  const Tensor bias = bench::normal<T>(device, no, 4);
  const Tensor dbias = bench::normal<float>(device, no, 4),
               dweight = bench::normal<float>(device, ni * no, 5);
  const std::string shape = "/" + type + "/" + std::to_string(rows) + "x" + std::to_string(in) +
                            "->" + std::to_string(out);
  for (const bool with_bias : {true, false}) {
    bench::measure(std::string(with_bias ? "linear_forward_bias" : "linear_forward") + shape,
                   device,
                   LinearForward<T>{.x = x.data<T>(),
                                    .weight = weight.data<T>(),
                                    .bias = with_bias ? bias.data<T>() : nullptr,
                                    .y = y.data<T>(),
                                    .rows = rows,
                                    .in = in,
                                    .out = out});
  }
  bench::measure("linear_backward_input" + shape, device,
                 LinearBackwardInput<T>{.dy = y.data<T>(),
                                        .weight = weight.data<T>(),
                                        .dx = x.data<T>(),
                                        .rows = rows,
                                        .in = in,
                                        .out = out});
  for (const bool with_bias : {true, false}) {
    bench::measure(
        std::string(with_bias ? "linear_backward_weight_bias" : "linear_backward_weight") + shape,
        device,
        LinearBackwardWeight<T>{.x = x.data<T>(),
                                .dy = y.data<T>(),
                                .dweight = dweight.data<float>(),
                                .dbias = with_bias ? dbias.data<float>() : nullptr,
                                .rows = rows,
                                .in = in,
                                .out = out});
  }
}

}  // namespace

// Patch embedding, then qkv, proj, fc1, fc2 of each level: the micro preset at batch 64 and the
// paper's at batch 2.
HH_BENCHMARK(linear) {
  const auto level = [&](std::int64_t rows, int c) {
    const int shapes[][2] = {{c, 3 * c}, {c, c}, {c, 4 * c}, {4 * c, c}};
    for (const auto [in, out] : shapes) {
      measure_all<float>(device, "f32", rows, in, out);
      measure_all<bf16>(device, "bf16", rows, in, out);
    }
  };
  const auto shapes = bench::shapes<2>("TC", {{64 * 256, 32}, {64 * 64, 64}, {64 * 16, 128}},
                                       {{2 * 16 * 196, 128}, {2 * 4 * 196, 256}, {2 * 196, 512}});
  for (const auto [rows, c] : shapes) level(rows, c);
  // The patch embedding.
  const auto patches = bench::shapes<3>("TIC", {{64 * 256, 12, 32}}, {{2 * 16 * 196, 48, 128}});
  for (const auto [rows, in, out] : patches) measure_all<float>(device, "f32", rows, in, out);
}

}  // namespace hh
