// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/elementwise/cast.h"

namespace hh {
namespace {

template <class From, class To>
void bench_count(Device device, const char* types, std::size_t n) {
  const Tensor from = bench::normal<From>(device, n, 1), to = bench::normal<To>(device, n, 2);
  bench::measure(
      std::string("cast/") + types + "/" + std::to_string(n), device,
      Cast<From, To>{.from = from.data<From>(), .to = to.data<To>(), .n = std::int64_t(n)});
}

}  // namespace

// The weights of the micro network and a tenth of the paper's.
HH_BENCHMARK(cast) {
  for (const auto [count] : bench::shapes<1>("N", {{300'000}}, {{5'000'000}})) {
    const auto n = std::size_t(count);
    bench_count<float, bf16>(device, "f32_bf16", n);
    bench_count<bf16, float>(device, "bf16_f32", n);
    bench_count<float, f16>(device, "f32_f16", n);
    bench_count<f16, float>(device, "f16_f32", n);
  }
}

}  // namespace hh
