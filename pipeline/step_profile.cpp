// SPDX-License-Identifier: Apache-2.0
#include "pipeline/step_profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <vector>

#include "engine/device/backend.h"
#include "engine/files/file.h"
#include "engine/ops/product_rate.h"
#include "kernels/core/parallel.h"

namespace hh::pipeline {
namespace {

constexpr const char* kBatch = "batch";
constexpr std::size_t kPrinted = 12;  // kernels; the file holds all

struct Spent {
  std::int64_t calls = 0;
  double ms = 0, bytes = 0, flops = 0, half_flops = 0;  // flops: of 32-bit numbers
  void add(const Spent& other) {
    calls += other.calls, ms += other.ms, bytes += other.bytes;
    flops += other.flops, half_flops += other.half_flops;
  }
};

using Key = std::tuple<std::string, std::string, std::string>;  // layer, pass, kernel

struct Sums {
  std::map<Key, Spent> kernels;
  Spent all;
  double batches_ms = 0;
};

Sums sums_of(const std::vector<Profiler::Event>& events) {
  Sums sums;
  for (const Profiler::Event& e : events) {
    const double ms = std::chrono::duration<double, std::milli>(e.end - e.begin).count();
    const std::string_view kind = e.kind;
    if (kind == "range" && e.name == kBatch) sums.batches_ms += ms;
    if (kind != "kernel" && kind != "copy") continue;
    const Spent spent{.calls = 1,
                      .ms = ms,
                      .bytes = e.work.bytes,
                      .flops = e.work.half_products ? 0 : e.work.flops,
                      .half_flops = e.work.half_products ? e.work.flops : 0};
    const std::string layer = e.layer.empty() ? "-" : e.layer;
    sums.kernels[{layer, e.backward ? "backward" : "forward", e.name}].add(spent);
    sums.all.add(spent);
  }
  return sums;
}

/// What the device's products reach at best, in flop/s; 0: not known, or not asked for.
struct Peak {
  double f32 = 0, half = 0;
  std::string source;

  /// Of the time `ms` in all, the share that its products would take at their peaks; negative:
  /// there are none, or their peak isn't known.
  double mfu(const Spent& spent, double ms) const {
    if (spent.flops + spent.half_flops <= 0) return -1;
    if ((spent.flops > 0 && f32 <= 0) || (spent.half_flops > 0 && half <= 0)) return -1;
    double seconds = 0;
    if (spent.flops > 0) seconds += spent.flops / f32;
    if (spent.half_flops > 0) seconds += spent.half_flops / half;
    return ms > 0 ? seconds * 1e3 / ms : -1;
  }
  std::string describe() const {
    if (f32 <= 0 && half <= 0) return "not known for this device: no MFU";
    std::string text;
    if (f32 > 0) text += fmt::format("{:.4g} Tflop/s in f32, ", f32 / 1e12);
    if (half > 0) text += fmt::format("{:.4g} in 16 bits, ", half / 1e12);
    return text + source;
  }
};

/// A CPU's is measured now, for the types that occurred; a GPU's is what NVIDIA publishes.
Peak peak_of(Device device, const Spent& all) {
  if (device.kind == DeviceKind::kCpu) {
    return {.f32 = all.flops > 0 ? measured_product_rate(device, DType::f32) : 0,
            .half = all.half_flops > 0 ? measured_product_rate(device, DType::bf16) : 0,
            .source = "measured by the library's product of 1024 x 1024 matrices"};
  }
  const PublishedRate* const known = published_product_rate(backend(device).name());
  if (known == nullptr) return {};
  return {.f32 = known->f32, .half = known->half, .source = known->source};
}

std::string share(double value, int digits) {
  return value < 0 ? "-" : fmt::format("{:.{}f}", value, digits);
}

/// The entries by time, longest first.
template <class K>
std::vector<std::pair<K, Spent>> longest_first(const std::map<K, Spent>& spent) {
  std::vector<std::pair<K, Spent>> rows(spent.begin(), spent.end());
  std::stable_sort(rows.begin(), rows.end(),
                   [](const auto& a, const auto& b) { return a.second.ms > b.second.ms; });
  return rows;
}

std::string to_tsv(const Sums& sums, const std::string& device, const Peak& peak) {
  std::string text = fmt::format(
      "# {}\n# mfu: flops over ms, of the peak: {}\n"
      "layer\tpass\tkernel\tcalls\tms\tshare\tbytes\tflops\tmfu\n",
      device, peak.describe());
  for (const auto& [key, spent] : longest_first(sums.kernels)) {
    const auto& [layer, pass, kernel] = key;
    text += fmt::format("{}\t{}\t{}\t{}\t{:.3f}\t{:.4f}\t{:.0f}\t{:.0f}\t{}\n", layer, pass, kernel,
                        spent.calls, spent.ms, spent.ms / sums.batches_ms, spent.bytes,
                        spent.flops + spent.half_flops, share(peak.mfu(spent, spent.ms), 4));
  }
  return text;
}

std::string table(const char* title, const std::map<std::string, Spent>& spent, double all_ms,
                  const Peak& peak, std::size_t most) {
  std::string text = fmt::format("{:<44} {:>7} {:>10} {:>7} {:>9} {:>9} {:>6}", title, "calls",
                                 "ms", "share %", "GB", "Gflop", "MFU %");
  const auto rows = longest_first(spent);
  for (std::size_t i = 0; i < std::min(rows.size(), most); ++i) {
    const auto& [name, sum] = rows[i];
    const double mfu = peak.mfu(sum, sum.ms);
    text += fmt::format("\n{:<44} {:>7} {:>10.2f} {:>7.1f} {:>9.3f} {:>9.3f} {:>6}", name,
                        sum.calls, sum.ms, 100 * sum.ms / all_ms, sum.bytes / 1e9,
                        (sum.flops + sum.half_flops) / 1e9, share(mfu < 0 ? mfu : 100 * mfu, 1));
  }
  if (rows.size() > most) text += fmt::format("\n  and {} more", rows.size() - most);
  return text;
}

}  // namespace

StepProfile::StepProfile(const std::filesystem::path& folder, Device device, ProfiledSteps steps,
                         const Listener& listener)
    : folder_(folder),
      device_(device),
      steps_(steps),
      listener_(listener),
      profiler_(backend(device).timeline()) {}

void StepProfile::batch(const std::function<bool()>& take) {
  const bool chosen = step_ >= steps_.first && step_ <= steps_.last;
  if (chosen) {
    profiler_.start();
    last_ = step_;
  }
  const bool completed = [&] {
    const ProfileRange range(kBatch);
    const bool done = take();
    if (chosen) profiler_.settle();
    return done;
  }();
  profiler_.stop();
  if (!completed) return;
  if (step_ == steps_.last) finish();
  ++step_;
}

void StepProfile::finish() {
  if (finished_) return;
  finished_ = true;
  if (last_ == 0) {
    listener_.report(fmt::format("no profile: the run ended before step {}, the first to profile",
                                 steps_.first));
    return;
  }
  const Sums sums = sums_of(profiler_.events());
  const Peak peak = peak_of(device_, sums.all);
  std::string device = backend(device_).name();
  if (device_.kind == DeviceKind::kCpu) device += fmt::format(", {} threads", cpu::num_threads());
  write_file_atomically(folder_ / kTraceFile, profiler_.to_json());
  write_file_atomically(folder_ / kProfileFile, to_tsv(sums, device, peak));
  std::map<std::string, Spent> layers, kernels;
  for (const auto& [key, spent] : sums.kernels) {
    const auto& [layer, pass, kernel] = key;
    layers[layer + " " + pass].add(spent);
    kernels[kernel].add(spent);
  }
  listener_.report(fmt::format(
      "profile of steps {} to {} on {}: {:.1f} ms without reading images, {:.1f}% of it in "
      "kernels and copies",
      steps_.first, last_, device, sums.batches_ms, 100 * sums.all.ms / sums.batches_ms));
  const double mfu = peak.mfu(sums.all, sums.batches_ms);
  listener_.report(
      fmt::format("peak of products: {}{}", peak.describe(),
                  mfu < 0 ? "" : fmt::format("; MFU of the steps {:.1f}%", 100 * mfu)));
  listener_.report(table("layer and pass", layers, sums.batches_ms, peak, layers.size()));
  listener_.report(table("kernel", kernels, sums.batches_ms, peak, kPrinted));
  if (profiler_.dropped() > 0) {
    listener_.report(fmt::format("{} events beyond the limit were not kept", profiler_.dropped()));
  }
}

}  // namespace hh::pipeline
