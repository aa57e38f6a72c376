// SPDX-License-Identifier: Apache-2.0
#include "bench/support/run.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "bench/support/harness.h"
#include "bench/support/profile_mark.h"
#include "bench/support/yardstick.h"
#include "engine/device/lent_blocks.h"
#include "engine/device/memory.h"
#include "kernels/core/parallel.h"

namespace hh::bench {
namespace {

using Json = nlohmann::json;

struct Run {
  Options options;
  std::regex filter;
  bool list = false;  // the command is `list`
  bool dry = false;   // benchmarks only name their cases
  int round = 0;
  std::vector<Record> records;
  std::map<std::pair<std::string, std::string>, std::size_t> index;  // by name and device
  int matched = 0;
} current;

/// All cases are timed in turn, and that this many times, so that a case's samples spread over the
/// whole run: a virtual machine's speed changes from one ten seconds to the next.
constexpr int kRounds = 12;
constexpr double kLow = 0.2;  // the percentile that stands for a round

/// HH_BENCH_ONCE is set: each kernel runs once and nothing else does, for profilers and simulators.
bool only_once() {
  static const bool once = std::getenv("HH_BENCH_ONCE") != nullptr;
  return once;
}

constexpr std::int64_t kEmptying = std::int64_t{256} << 20;

/// More than any cache here holds, written so that nothing a benchmark used stays in it.
void empty_caches(Device device) {
  static std::map<std::string, Tensor> arrays;
  Tensor& array = arrays[to_string(device)];
  if (!array) array = Tensor({kEmptying}, DType::u8, device);
  if (device == kCpu) {  // by all threads: each core has a cache of its own
    cpu::parallel_for(kEmptying, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
      std::memset(array.raw() + begin, 0, std::size_t(end - begin));
    });
  } else {
    array.zero();
  }
}

using Clock = std::chrono::steady_clock;
double microseconds(Clock::duration time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

/// Calls in a graph, so that the host's launches, and the events, weigh little beside them.
class Replays {
 public:
  /// All of them, `times` in turn.
  Replays(Device device, int times, const Calls& calls) : times_(times), calls_(calls) {
    try {
      if (count() > 1) graph_ = backend(device).record([&] { call_all(); });
    } catch (const DeviceError&) {  // a peer's call that can't be recorded
      graph_ = nullptr;
    }
  }
  int count() const { return times_ * int(calls_.each.size()); }
  void queue() const { graph_ ? graph_->replay() : call_all(); }

 private:
  void call_all() const {
    for (int i = 0; i < times_; ++i) {
      for (const auto& call : calls_.each) call();
    }
  }

  int times_;
  const Calls& calls_;
  std::unique_ptr<LaunchGraph> graph_;
};

/// By the GPU's clock. Warm: calls one after the other on the same arrays. Cold: calls in turn on
/// copies of them; where these are too few to fill the caches, kEmptying bytes are written before
/// each round.
std::vector<double> sample_on_gpu(Device device, Samples wanted, bool cold, const Calls& calls) {
  const auto timeline = backend(device).timeline();
  const auto time = [&](std::size_t samples, const Replays& replays) {
    timeline->start();
    for (std::size_t i = 0; i < samples; ++i) {
      if (cold && !calls.beyond_caches) empty_caches(device);
      timeline->begin_span();
      replays.queue();
      timeline->end_span();
    }
    std::vector<double> us;
    for (const auto& span : timeline->finish()) {
      us.push_back(std::max(microseconds(span.end - span.begin) / replays.count(), 1e-3));
    }
    return us;
  };
  // A first call of each may load code or choose algorithms, which no recording can.
  for (const auto& call : calls.each) call();
  const double first = time(2, Replays(device, 1, calls)).back();
  const Replays replays(device, cold ? 1 : std::clamp(int(200 / first), 1, 50), calls);
  if (replays.count() > 1) time(1, replays);
  const double each = first * replays.count();
  const auto number =
      std::clamp(std::size_t(wanted.seconds * 1e6 / each), wanted.least, wanted.most);
  std::vector<double> us = time(number, replays);
  std::sort(us.begin(), us.end());
  return us;
}

void print(const Record& r) {
  std::printf("%-56s %10.2f %10.2f %10.2f %8.2f %8.3f %7.1f %6.0f%% %s\n", r.name.c_str(),
              r.median(), r.percentile(0.1), r.percentile(0.9), r.gb_s(), r.tflop_s(),
              r.intensity(), 100 * r.share(), r.verdict().c_str());
  std::fflush(stdout);
}

}  // namespace

bool listing() { return current.dry; }

bool with_peers() { return current.options.peers; }

bool wanted(const std::string& name) {
  if (!matches(name, current.filter, current.options.dtypes)) return false;
  ++current.matched;
  if (current.list && current.dry) std::printf("%s\n", name.c_str());
  return !current.dry;
}

void choose(const std::string& extents, std::vector<std::vector<int>>& micro,
            const std::vector<std::vector<int>>& paper) {
  const Options& o = current.options;
  if (o.preset == "paper") micro.clear();
  if (o.preset != "micro") micro.insert(micro.end(), paper.begin(), paper.end());
  for (auto& shape : micro) {
    for (std::size_t c = 0; c < extents.size(); ++c) {
      const auto found = o.extents.find(extents[c]);
      if (found != o.extents.end()) shape.at(c) = found->second;
    }
  }
  std::set<std::vector<int>> seen;
  std::erase_if(micro, [&](const auto& shape) { return !seen.insert(shape).second; });
}

bool rotates(Device device) { return device != kCpu && current.options.cold && !only_once(); }

std::vector<double> sample(Device device, Samples wanted, const std::function<void()>& call) {
  return sample(device, wanted, Calls{.each = {call}});
}

std::vector<double> sample(Device device, Samples wanted, const Calls& calls) {
  const bool cold = current.options.cold && !wanted.always_warm;
  if (device != kCpu && !only_once()) return sample_on_gpu(device, wanted, cold, calls);
  const auto& call = calls.each.front();
  const auto once = [&] {
    if (cold) empty_caches(device);
    const auto start = Clock::now();
    call();
    backend(device).synchronize();
    return std::max(microseconds(Clock::now() - start), 1e-3);
  };
  if (only_once()) return {once()};
  // A single call doesn't warm arrays that only the last cache holds: that fills by what others
  // evict.
  for (double spent = once(); spent < 0.25e6 * wanted.seconds;) spent += once();
  std::vector<double> us{once()};
  const auto number = std::clamp(std::size_t(wanted.seconds * 1e6 / std::max(us[0], 1.0)),
                                 wanted.least, cold ? 2 * wanted.least : wanted.most);
  while (us.size() < number) us.push_back(once());
  std::sort(us.begin(), us.end());
  return us;
}

void time_case(const std::string& name, Device device, Work work,
               const std::function<void()>& call) {
  time_case(name, device, work, Calls{.each = {call}});
}

void time_case(const std::string& name, Device device, Work work, const Calls& calls) {
  const std::string gemm = work.half_products ? "bf16" : "f32";
  if (only_once()) {
    mark_profile(Json{{"kind", "case"},
                      {"case", name},
                      {"bytes", work.bytes},
                      {"flops", work.flops},
                      {"gemm", gemm}});
    sample(device, {0, 1, 1, false}, calls);
    mark_profile(Json{{"kind", "case_end"}});
    return;
  }
  const auto key = std::pair(name, to_string(device));
  const auto [found, added] = current.index.emplace(key, current.records.size());
  if (added) {
    current.records.push_back({.name = name,
                               .device = key.second,
                               .bytes = work.bytes,
                               .flops = work.flops,
                               .cold = current.options.cold,
                               .gemm = gemm});
  }
  Record& r = current.records[found->second];
  const auto us = sample(device, {current.options.min_time / kRounds, 2, 20, false}, calls);
  r.us.insert(r.us.end(), us.begin(), us.end());
  r.rounds.push_back(reference_now(device, gemm == "bf16"));
  r.rounds.back().us = us[std::size_t(kLow * double(us.size() - 1) + 0.5)];
  if (current.round + 1 < kRounds) return;
  std::sort(r.us.begin(), r.us.end());
  const Yardstick& y = yardstick(device, r.gemm == "bf16");
  r.copy_us = copy_us(device, work.bytes, work.reads_only);
  r.copy_gb_s = y.copy_gb_s;
  r.gemm_tflop_s = y.gemm_tflop_s;
  print(r);
}

std::vector<Record> run(const Options& options, bool list) {
  current = {.options = options, .filter = std::regex(options.filter), .list = list, .dry = true};
  if (options.threads > 0) cpu::set_num_threads(options.threads);
  std::vector<Function> chosen;
  int before = 0;
  for (const auto& [stem, function] : registry()) {
    function(kCpu);
    if (current.matched > before) chosen.push_back(function);
    before = current.matched;
  }
  if (chosen.empty()) throw std::invalid_argument("no case matches --filter and --dtype");
  current.dry = false;
  for (const std::string& name : options.devices) {
    if (list) break;
    const Device device = parse_device(name);
    if (!only_once()) {
      const Yardstick &f32 = yardstick(device, false), &half = yardstick(device, true);
      std::printf("%s: copy %.1f GB/s, GEMM %.3f TFLOP/s in f32 and %.3f in bf16; %d CPU threads\n",
                  to_string(device).c_str(), f32.copy_gb_s, f32.gemm_tflop_s, half.gemm_tflop_s,
                  cpu::num_threads());
      if (device != kCpu) {
        std::printf(options.cold
                        ? "by events, cold: graphs of calls in turn on copies of the arrays, 256 "
                          "MiB of them\n"
                        : "by events, warm: graphs of up to 50 calls on the same arrays\n");
      }
      std::printf("%-56s %10s %10s %10s %8s %8s %7s %7s %s\n", "case", "median us", "p10", "p90",
                  "GB/s", "TFLOP/s", "flop/B", "of best", "verdict");
    }
    const int rounds = only_once() ? 1 : kRounds;
    for (current.round = 0; current.round < rounds; ++current.round) {
      release_cached_memory(device);  // other pages each time: where arrays lie changes times too
      for (const Function function : chosen) {
        const LentBlocks lent;
        function(device);
      }
    }
  }
  return std::move(current.records);
}

}  // namespace hh::bench
