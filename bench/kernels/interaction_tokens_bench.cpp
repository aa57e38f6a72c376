// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/interaction/interaction_tokens.h"

namespace hh {
namespace {

template <class T>
void bench_shape(Device device, const char* type, int b, int m, int c) {
  const std::size_t size = std::size_t(m) * std::size_t(c), n = size * std::size_t(b);
  const Tensor z = bench::normal<T>(device, n, 1), pos = bench::normal<float>(device, size, 2);
  const Tensor tokens = bench::normal<T>(device, n, 3);
  const std::string shape = std::string("/") + type + "/" + std::to_string(b) + "x" +
                            std::to_string(m) + "x" + std::to_string(c);
  bench::measure("interaction_tokens_forward" + shape, device,
                 InteractionTokensForward<T>{.z = z.data<T>(),
                                             .pos = pos.data<float>(),
                                             .tokens = tokens.data<T>(),
                                             .images = b,
                                             .positions = m,
                                             .channels = c});
  bench::measure("interaction_tokens_backward" + shape, device,
                 InteractionTokensBackward<T>{.dtokens = tokens.data<T>(),
                                              .dz = z.data<T>(),
                                              .dpos = pos.data<float>(),
                                              .images = b,
                                              .positions = m,
                                              .channels = c});
}

}  // namespace

// Images x positions x channels: the micro preset at batch 64 and the paper's at batch 8.
HH_BENCHMARK(interaction_tokens) {
  const auto shapes = bench::shapes<3>("BTC", {{64, 16, 64}}, {{8, 16, 256}, {8, 4, 512}});
  for (const auto [b, m, c] : shapes) {
    bench::for_each_type(
        device, [&]<class T>(T, const char* type) { bench_shape<T>(device, type, b, m, c); });
  }
}

}  // namespace hh
