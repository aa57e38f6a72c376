// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/conv/int8_conv2d.h"
#include "kernels/gemm/instructions.h"
#include "kernels/linear/int8_linear.h"

namespace hh {

// As conv2d_bench.cpp.
HH_BENCHMARK(int8_conv2d) {
  if (device != kCpu || !cpu::has_int8_products()) return;
  const auto shapes = bench::shapes<6>("BSCOYX",
                                       {{64, 16, 32, 64, 3, 3},
                                        {64, 8, 64, 128, 3, 3},
                                        {64, 4, 128, 128, 1, 3},
                                        {64, 4, 128, 128, 3, 1}},
                                       {{2, 56, 128, 256, 3, 3},
                                        {2, 28, 256, 512, 3, 3},
                                        {2, 14, 512, 512, 1, 3},
                                        {2, 14, 512, 512, 3, 1}});
  for (const auto [b, side, in, out, kh, kw] : shapes) {
    const Conv2dShape s{.images = b,
                        .height = side,
                        .width = side,
                        .in_channels = in,
                        .out_channels = out,
                        .kernel_h = kh,
                        .kernel_w = kw};
    const int seen = s.taps() * in;
    const Tensor x = bench::normal<float>(kCpu, std::size_t(s.pixels() * in), 1);
    const Tensor y = bench::normal<float>(kCpu, std::size_t(s.pixels() * out), 2);
    const Tensor weight = bench::normal<float>(kCpu, std::size_t(s.weights()), 3);
    const Tensor bias = bench::normal<float>(kCpu, std::size_t(out), 4);
    const Tensor packed({std::int64_t(cpu::int8_packed_bytes(seen, out))}, DType::u8, kCpu);
    launch(
        kCpu,
        Int8Pack{.weight = weight.data<float>(), .packed = packed.raw(), .in = seen, .out = out});
    bench::measure("int8_conv2d_forward/f32/" + std::to_string(b) + "x" + std::to_string(side) +
                       "x" + std::to_string(side) + "x" + std::to_string(in) + "->" +
                       std::to_string(out) + "/" + std::to_string(kh) + "x" + std::to_string(kw),
                   kCpu,
                   Int8Conv2dForward{.x = x.data<float>(),
                                     .packed = packed.raw(),
                                     .bias = bias.data<float>(),
                                     .y = y.data<float>(),
                                     .shape = s});
  }
}

}  // namespace hh
