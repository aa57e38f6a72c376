// Usage: hh_bench [substring]   runs the benchmarks with that in their name. HH_SIMD and HH_THREADS
// choose the instruction set and the number of threads, HH_BENCH_DEVICE the device (default cpu).
// HH_BENCH_ONCE=1 runs every kernel once, for profilers and simulators.
#include <cstdlib>

#include "bench/support/harness.h"
#include "kernels/core/parallel.h"
#include "kernels/core/simd.h"

int main(int argc, char** argv) {
  hh::cpu::simd_from_environment();
  if (const char* threads = std::getenv("HH_THREADS")) hh::cpu::set_num_threads(std::atoi(threads));
  const char* device = std::getenv("HH_BENCH_DEVICE");
  const hh::Device on = hh::parse_device(device != nullptr ? device : "cpu");
  const std::string filter = argc > 1 ? argv[1] : "";
  for (const auto& [name, run] : hh::bench::registry()) {
    if (name.find(filter) != std::string::npos) run(on);
  }
}
