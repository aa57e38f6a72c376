// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/linear/linear_gelu.h"

namespace hh {
namespace {

template <class T>
void bench_shape(Device device, const std::string& type, std::int64_t rows, int c) {
  const int hidden = 4 * c;
  const auto narrow = std::size_t(rows) * std::size_t(c), wide = 4 * narrow;
  const Tensor x = bench::normal<T>(device, narrow, 1), y = bench::normal<T>(device, wide, 2),
               pre = bench::normal<T>(device, wide, 3),
               weight =
                   bench::normal<T>(device, std::size_t(4) * std::size_t(c) * std::size_t(c), 4);
  const Tensor bias = bench::normal<float>(device, std::size_t(hidden), 5),
               dbias = bench::normal<float>(device, std::size_t(hidden), 6);
  const std::string shape = "/" + type + "/" + std::to_string(rows) + "x" + std::to_string(c) +
                            "->" + std::to_string(hidden);
  // The second time as cuBLASLt's product and bias_gelu; a CPU has one way.
  for (const LinearGeluWay way : {LinearGeluWay::kOneKernel, LinearGeluWay::kTwoLaunches}) {
    const bool two = way == LinearGeluWay::kTwoLaunches;
    if (two && (device == kCpu || sizeof(T) == 4)) continue;
    const std::string name = two ? "/two_launches" : "";
    bench::measure("linear_gelu_forward" + shape + name, device,
                   LinearGeluForward<T>{.x = x.data<T>(),
                                        .weight = weight.data<T>(),
                                        .bias = bias.data<float>(),
                                        .pre = pre.data<T>(),
                                        .y = y.data<T>(),
                                        .rows = rows,
                                        .in = c,
                                        .hidden = hidden,
                                        .way = way});
    bench::measure("linear_gelu_backward" + shape + name, device,
                   LinearGeluBackward<T>{.dout = x.data<T>(),
                                         .weight = weight.data<T>(),
                                         .pre = pre.data<T>(),
                                         .bias = bias.data<float>(),
                                         .dpre = y.data<T>(),
                                         .dbias = dbias.data<float>(),
                                         .rows = rows,
                                         .hidden = hidden,
                                         .out = c,
                                         .way = way});
  }
}

}  // namespace

// The hidden layers of the micro preset at batch 64 and of the paper's at batch 2.
HH_BENCHMARK(linear_gelu) {
  const auto shapes = bench::shapes<2>("TC", {{64 * 256, 32}, {64 * 64, 64}, {64 * 16, 128}},
                                       {{2 * 3136, 128}, {2 * 784, 256}, {2 * 196, 512}});
  for (const auto [rows, c] : shapes) {
    bench::for_each_type(
        device, [&]<class T>(T, const char* type) { bench_shape<T>(device, type, rows, c); });
  }
}

}  // namespace hh
