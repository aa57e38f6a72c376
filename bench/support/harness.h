// Timing for microbenchmarks: one JSON object per line on stdout.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/launch.h"
#include "engine/tensor.h"
#include "tests/support/values.h"

namespace hh::bench {

/// What one call must do, from its shapes: least bytes to and from memory; operations (0: none).
struct Work {
  double bytes = 0;
  double flops = 0;
};
struct Timing {
  double median_us, p10_us, p90_us;
};

/// `call` does the work once, to its end. Warm-up, then 15 to 200 samples within about half a
/// second; one call and nothing else when HH_BENCH_ONCE is set.
Timing time(const std::function<void()>& call);

/// One line: times, bandwidth, flop rate, and speed as a fraction of a plain copy of the same bytes
/// on the same device in the same run (1: as fast as copying), which HH_BENCH_ONCE leaves out.
void report(const std::string& name, Device device, Work work, Timing t);

/// Times a kernel of the device's table and reports it. Its workspace is lent outside the timing.
template <class Args>
void measure(const std::string& name, Device device, Args args, Work work) {
  Backend& on = backend(device);
  const Kernel<Args>& kernel = on.kernels().of<Args>();
  Tensor workspace;
  if constexpr (requires { args.workspace; }) {
    const std::size_t bytes = kernel.workspace_bytes ? kernel.workspace_bytes(args) : 0;
    if (bytes != 0) {
      workspace = Tensor({std::int64_t(bytes)}, DType::u8, device);
      args.workspace = workspace.raw();
    }
  }
  report(name, device, work, time([&] {
           kernel.run(args, on.stream());
           on.synchronize();
         }));
}

/// n normally distributed values on a device.
template <class T>
Tensor normal(Device device, std::size_t n, std::uint64_t seed) {
  const std::vector<T> values = testing::normal<T>(n, seed);
  return Tensor::from(std::span<const T>(values), {std::int64_t(n)}, device);
}

using Function = void (*)(Device);
inline std::map<std::string, Function>& registry() {
  static std::map<std::string, Function> functions;
  return functions;
}

}  // namespace hh::bench

/// HH_BENCHMARK(stem) { ... bench::measure(..., device, ...) }: one per op, named by its stem.
#define HH_BENCHMARK(name)                                       \
  static void name##_bench(hh::Device device);                   \
  [[maybe_unused]] static const bool name##_known =              \
      hh::bench::registry().emplace(#name, name##_bench).second; \
  static void name##_bench(hh::Device device)
