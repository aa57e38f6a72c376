// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/gemm/instructions.h"
#include "kernels/linear/int8_linear.h"

namespace hh {
namespace {

struct Packed {
  Packed(const Tensor& weight, int in, int out)
      : bytes({std::int64_t(cpu::int8_packed_bytes(in, out))}, DType::u8, kCpu) {
    launch(kCpu,
           Int8Pack{.weight = weight.data<float>(), .packed = bytes.raw(), .in = in, .out = out});
  }
  Tensor bytes;
};

void measure_layer(std::int64_t rows, int in, int out) {
  const auto n = std::size_t(rows), ni = std::size_t(in), no = std::size_t(out);
  const Tensor x = bench::normal<float>(kCpu, n * ni, 1), y = bench::normal<float>(kCpu, n * no, 2);
  const Packed weight(bench::normal<float>(kCpu, ni * no, 3), in, out);
  const Tensor bias = bench::normal<float>(kCpu, no, 4);
  bench::measure("int8_linear_forward/f32/" + std::to_string(rows) + "x" + std::to_string(in) +
                     "->" + std::to_string(out),
                 kCpu,
                 Int8LinearForward{.x = x.data<float>(),
                                   .packed = weight.bytes.raw(),
                                   .bias = bias.data<float>(),
                                   .y = y.data<float>(),
                                   .rows = rows,
                                   .in = in,
                                   .out = out});
}

void measure_mlp(std::int64_t rows, int c) {
  const auto n = std::size_t(rows), nc = std::size_t(c);
  const Tensor x = bench::normal<float>(kCpu, n * nc, 1), y = bench::normal<float>(kCpu, n * nc, 2);
  const Packed weight1(bench::normal<float>(kCpu, 4 * nc * nc, 3), c, 4 * c);
  const Packed weight2(bench::normal<float>(kCpu, 4 * nc * nc, 4), 4 * c, c);
  const Tensor bias = bench::normal<float>(kCpu, 4 * nc, 5);
  bench::measure("int8_mlp_forward/f32/" + std::to_string(rows) + "x" + std::to_string(c), kCpu,
                 Int8MlpForward{.x = x.data<float>(),
                                .packed1 = weight1.bytes.raw(),
                                .bias1 = bias.data<float>(),
                                .packed2 = weight2.bytes.raw(),
                                .y = y.data<float>(),
                                .rows = rows,
                                .in = c,
                                .hidden = 4 * c,
                                .out = c});
}

}  // namespace

// qkv, proj and the MLP of each level: the micro preset at batch 64 and the paper's at batch 8.
HH_BENCHMARK(int8_linear) {
  if (device != kCpu || !cpu::has_int8_products()) return;
  const auto shapes = bench::shapes<2>("TC", {{64 * 256, 32}, {64 * 64, 64}, {64 * 16, 128}},
                                       {{8 * 3136, 128}, {8 * 784, 256}, {8 * 196, 512}});
  for (const auto [rows, c] : shapes) {
    measure_layer(rows, int(c), 3 * int(c));
    measure_layer(rows, int(c), int(c));
    measure_mlp(rows, int(c));
  }
}

}  // namespace hh
