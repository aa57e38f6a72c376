// Timing for microbenchmarks: one JSON object per line on stdout.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace hh::bench {

/// What one call must do, from its shapes: least bytes to and from memory; operations (0: none).
struct Work {
  double bytes = 0;
  double flops = 0;
};
struct Timing {
  double median_us, p10_us, p90_us;
};

/// `call` does the work once. Warm-up, then 15 to 200 samples within about half a second.
template <class Call>
Timing time(Call call) {
  using Clock = std::chrono::steady_clock;
  const auto once = [&] {
    const auto start = Clock::now();
    call();
    return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
  };
  once();
  const double guess = std::max(once(), 1.0);
  std::vector<double> us(std::size_t(std::clamp(0.5e6 / guess, 15.0, 200.0)));
  for (double& t : us) t = once();
  std::sort(us.begin(), us.end());
  return {us[us.size() / 2], us[us.size() / 10], us[us.size() * 9 / 10]};
}

/// Copies of the same bytes in the same run: a yardstick that needs no data sheet.
inline Timing time_copy(std::size_t bytes) {
  std::vector<char> from(bytes / 2, 1), to(bytes / 2);
  return time([&] { std::memcpy(to.data(), from.data(), from.size()); });
}

/// One line: times, bandwidth, flop rate, and speed as a fraction of one thread's plain copy of the
/// same bytes (1: as fast as copying).
inline void report(const std::string& name, Work work, Timing t) {
  const Timing copy = time_copy(std::size_t(work.bytes));
  std::printf(
      "{\"bench\":\"%s\",\"device\":\"cpu\",\"median_us\":%.2f,\"p10_us\":%.2f,\"p90_us\":%.2f,"
      "\"gb_per_s\":%.2f,\"gflop_per_s\":%.2f,\"of_copy\":%.3f}\n",
      name.c_str(), t.median_us, t.p10_us, t.p90_us, work.bytes / t.median_us / 1e3,
      work.flops / t.median_us / 1e3, copy.median_us / t.median_us);
  std::fflush(stdout);
}

using Function = void (*)();
inline std::map<std::string, Function>& registry() {
  static std::map<std::string, Function> functions;
  return functions;
}

}  // namespace hh::bench

/// HH_BENCHMARK(stem) { ... bench::report(...) }: one per op, named by its stem.
#define HH_BENCHMARK(name)                                       \
  static void name##_bench();                                    \
  [[maybe_unused]] static const bool name##_known =              \
      hh::bench::registry().emplace(#name, name##_bench).second; \
  static void name##_bench()
