#include "bench/support/harness.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace hh::bench {
namespace {

/// HH_BENCH_ONCE is set: each kernel runs once and nothing else does, for profilers and simulators.
bool only_once() {
  static const bool once = std::getenv("HH_BENCH_ONCE") != nullptr;
  return once;
}

Timing time_copy(Device device, std::size_t bytes) {
  const auto half = std::int64_t(bytes / 2);
  const Tensor from = Tensor::zeros({half}, DType::u8, device);
  const Tensor to = Tensor::zeros({half}, DType::u8, device);
  return time([&] {
    to.copy_from(from);
    backend(device).synchronize();
  });
}

}  // namespace

Timing time(const std::function<void()>& call) {
  using Clock = std::chrono::steady_clock;
  const auto once = [&] {
    const auto start = Clock::now();
    call();
    return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
  };
  if (only_once()) {
    const double us = once();
    return {us, us, us};
  }
  once();
  const double guess = std::max(once(), 1.0);
  std::vector<double> us(std::size_t(std::clamp(0.5e6 / guess, 15.0, 200.0)));
  for (double& t : us) t = once();
  std::sort(us.begin(), us.end());
  return {us[us.size() / 2], us[us.size() / 10], us[us.size() * 9 / 10]};
}

void report(const std::string& name, Device device, Work work, Timing t) {
  std::printf(
      "{\"bench\":\"%s\",\"device\":\"%s\",\"median_us\":%.2f,\"p10_us\":%.2f,\"p90_us\":%.2f,"
      "\"gb_per_s\":%.2f,\"gflop_per_s\":%.2f",
      name.c_str(), to_string(device).c_str(), t.median_us, t.p10_us, t.p90_us,
      work.bytes / t.median_us / 1e3, work.flops / t.median_us / 1e3);
  if (!only_once()) {
    const Timing copy = time_copy(device, std::size_t(work.bytes));
    std::printf(",\"of_copy\":%.3f", copy.median_us / t.median_us);
  }
  std::printf("}\n");
  std::fflush(stdout);
}

}  // namespace hh::bench
