// SPDX-License-Identifier: Apache-2.0
#include "bench/kernels/conv2d_shapes.h"
#include "bench/support/harness.h"
#include "kernels/conv/int8_conv2d.h"
#include "kernels/gemm/instructions.h"
#include "kernels/linear/int8_linear.h"

namespace hh {

HH_BENCHMARK(int8_conv2d) {
  if (device != kCpu || !cpu::has_int8_products()) return;
  for (const Conv2dShape& s : bench::conv2d_shapes()) {
    const int b = s.images, side = s.height, in = s.in_channels, out = s.out_channels;
    const int kh = s.kernel_h, kw = s.kernel_w;
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
