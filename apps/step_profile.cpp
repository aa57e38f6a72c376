#include "apps/step_profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "engine/file.h"

namespace hh::apps {
namespace {

constexpr const char* kBatch = "batch";
constexpr std::size_t kPrinted = 12;  // rows of each printed table; the file holds all

struct Spent {
  std::int64_t calls = 0;
  double ms = 0;
  void add(const Spent& other) { calls += other.calls, ms += other.ms; }
};

using Key = std::tuple<std::string, std::string, std::string>;  // layer, pass, kernel

struct Sums {
  std::map<Key, Spent> launches;
  double batches_ms = 0;
};

Sums sums_of(const std::vector<Profiler::Event>& events) {
  Sums sums;
  for (const Profiler::Event& e : events) {
    const double ms = std::chrono::duration<double, std::milli>(e.end - e.begin).count();
    if (e.name == kBatch) sums.batches_ms += ms;
    if (std::string_view(e.kind) != "launch") continue;
    const std::string layer = e.layer.empty() ? "-" : e.layer;
    sums.launches[{layer, e.backward ? "backward" : "forward", e.name}].add({1, ms});
  }
  return sums;
}

/// The entries by time, longest first.
template <class K>
std::vector<std::pair<K, Spent>> longest_first(const std::map<K, Spent>& spent) {
  std::vector<std::pair<K, Spent>> rows(spent.begin(), spent.end());
  std::stable_sort(rows.begin(), rows.end(),
                   [](const auto& a, const auto& b) { return a.second.ms > b.second.ms; });
  return rows;
}

std::string to_tsv(const Sums& sums) {
  std::string text = "layer\tpass\tkernel\tcalls\tms\tshare\n";
  for (const auto& [key, spent] : longest_first(sums.launches)) {
    const auto& [layer, pass, kernel] = key;
    text += fmt::format("{}\t{}\t{}\t{}\t{:.3f}\t{:.4f}\n", layer, pass, kernel, spent.calls,
                        spent.ms, spent.ms / sums.batches_ms);
  }
  return text;
}

void print(const char* title, const std::map<std::string, Spent>& spent, double all_ms) {
  fmt::print("{:<44} {:>8} {:>10} {:>7}\n", title, "calls", "ms", "share");
  const auto rows = longest_first(spent);
  for (std::size_t i = 0; i < std::min(rows.size(), kPrinted); ++i) {
    const auto& [name, sum] = rows[i];
    fmt::print("{:<44} {:>8} {:>10.2f} {:>6.1f}%\n", name, sum.calls, sum.ms,
               100 * sum.ms / all_ms);
  }
  if (rows.size() > kPrinted) fmt::print("  and {} more\n", rows.size() - kPrinted);
}

}  // namespace

void StepProfile::batch(const std::function<bool()>& take) {
  const bool chosen = step_ >= kFirst && step_ <= kLast;
  if (chosen) {
    profiler_.start();
    last_ = step_;
  }
  const bool completed = [&] {
    const ProfileRange range(kBatch);
    return take();
  }();
  profiler_.stop();
  if (!completed) return;
  if (step_ == kLast) write();
  ++step_;
}

void StepProfile::finish() {
  if (!written_) write();
}

void StepProfile::write() {
  written_ = true;
  if (last_ == 0) {
    fmt::print("no profile: the run ended before step {}, the first to profile\n", kFirst);
    return;
  }
  const Sums sums = sums_of(profiler_.events());
  write_file_atomically(folder_ / kTraceFile, profiler_.to_json());
  write_file_atomically(folder_ / kProfileFile, to_tsv(sums));
  std::map<std::string, Spent> layers, kernels;
  Spent launches;
  for (const auto& [key, spent] : sums.launches) {
    const auto& [layer, pass, kernel] = key;
    layers[layer + " " + pass].add(spent);
    kernels[kernel].add(spent);
    launches.add(spent);
  }
  fmt::print(
      "profile of steps {} to {}: {:.1f} ms without reading images, {:.1f}% of it in kernels\n",
      kFirst, last_, sums.batches_ms, 100 * launches.ms / sums.batches_ms);
  print("layer and pass", layers, sums.batches_ms);
  print("kernel", kernels, sums.batches_ms);
  if (profiler_.dropped() > 0) {
    fmt::print("{} events beyond the limit were not kept\n", profiler_.dropped());
  }
}

}  // namespace hh::apps
