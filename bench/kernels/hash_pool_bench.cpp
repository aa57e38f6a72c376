// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/hash/hash_pool.h"

namespace hh {
namespace {

template <class T>
void bench_shape(Device device, const char* type, int b, int s, int c) {
  const std::size_t vectors = std::size_t(b) * std::size_t(c);
  const std::size_t map = vectors * std::size_t(s * s);
  const int o = (s - 1) / 2 + 1;
  const std::size_t windows = vectors * std::size_t(o * o);
  const Tensor local = bench::normal<T>(device, map, 1);
  const Tensor glob = bench::normal<T>(device, vectors, 2);
  const Tensor pooled = bench::normal<T>(device, vectors, 3);
  const Tensor argmax({std::int64_t(windows)}, DType::u8, device);
  const std::string shape = std::string("/") + type + "/" + std::to_string(b) + "x" +
                            std::to_string(s) + "x" + std::to_string(c);
  bench::measure("hash_pool_forward" + shape, device,
                 HashPoolForward<T>{.local = local.data<T>(),
                                    .glob = glob.data<T>(),
                                    .pooled = pooled.data<T>(),
                                    .argmax = argmax.data<std::uint8_t>(),
                                    .images = b,
                                    .side = s,
                                    .channels = c});
  bench::measure("hash_pool_backward" + shape, device,
                 HashPoolBackward<T>{.dpooled = pooled.data<T>(),
                                     .argmax = argmax.data<std::uint8_t>(),
                                     .dlocal = local.data<T>(),
                                     .images = b,
                                     .side = s,
                                     .channels = c});
}

}  // namespace

// Images x side x channels: the micro preset at batch 64 and the paper's at batch 2 and 8.
HH_BENCHMARK(hash_pool) {
  const auto shapes = bench::shapes<3>("BSC", {{64, 4, 128}}, {{2, 14, 512}, {8, 14, 512}});
  for (const auto [b, s, c] : shapes) {
    bench::for_each_type(
        device, [&]<class T>(T, const char* type) { bench_shape<T>(device, type, b, s, c); });
  }
}

}  // namespace hh
