// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/elementwise/add.h"

namespace hh {
namespace {

template <class T>
void bench_count(Device device, const char* type, std::size_t n) {
  const Tensor x = bench::normal<T>(device, n, 1), y = bench::normal<T>(device, n, 2);
  bench::measure(std::string("add/") + type + "/" + std::to_string(n), device,
                 Add<T>{.x = x.data<T>(), .y = y.data<T>(), .n = std::int64_t(n)});
}

}  // namespace

// A level's stream: the micro preset at batch 64 and the paper's at batch 8.
HH_BENCHMARK(add) {
  for (const auto [n] : bench::shapes<1>("N", {{64 * 256 * 32}}, {{8 * 3136 * 128}})) {
    bench::for_each_type(device, [&]<class T>(T, const char* type) {
      bench_count<T>(device, type, std::size_t(n));
    });
  }
}

}  // namespace hh
