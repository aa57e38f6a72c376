// SPDX-License-Identifier: Apache-2.0
// A measured case, as a line of JSON.
#pragma once
#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace hh::bench {

/// One of the times that a case's turn came: a low sample of it and, timed beside it, two works
/// that never change. Those tell what the machine's speed was then; 0: not measured.
struct Round {
  double us = 0;
  double product_us = 0;  // the library's product in the case's type
  double copy_us = 0;
};

struct Record {
  /// Starting threads, or a kernel, and waiting takes about 10 us: a quarter of this.
  static constexpr double kLatencyUs = 40;
  std::string name, device;
  double bytes = 0, flops = 0;  // what one call must move and do
  bool cold = false;            // caches held nothing of its arrays
  std::vector<double> us;       // samples of all rounds, ascending
  std::vector<Round> rounds;
  double copy_us = 0, copy_gb_s = 0;         // a copy (or read) of the same bytes; of a large array
  double gemm_tflop_s = 0;                   // the library's product; 0: not measured
  std::string gemm = "f32";                  // its type, f32 or bf16
  std::map<std::string, std::string> about;  // about_run(); empty in records of older versions

  double median() const { return percentile(0.5); }
  double percentile(double p) const { return us[std::size_t(p * double(us.size() - 1) + 0.5)]; }
  /// The second fastest round: what the case takes while the machine is at its best, seen twice.
  double fast() const { return nth_fastest(&Round::us, 1); }
  /// The least value of the rounds (n = 0), the next (1) and so on.
  double nth_fastest(double Round::*which, std::size_t n) const;
  double gb_s() const { return bytes / median() / 1e3; }
  double tflop_s() const { return flops / median() / 1e6; }
  double intensity() const { return bytes > 0 ? flops / bytes : 0; }
  double memory_share() const { return copy_us / median(); }
  double compute_share() const { return gemm_tflop_s > 0 ? tflop_s() / gemm_tflop_s : 0; }
  /// The yardstick's time over ours: how close to the nearer limit.
  double share() const { return std::max(memory_share(), compute_share()); }
  /// The yardstick's copy of these bytes came from a cache: much faster than one of a large array.
  bool in_cache() const { return bytes > 1.5 * copy_gb_s * copy_us * 1e3; }
  /// memory-bound (cache-bound where the arrays stay in one) or compute-bound, by the limit that is
  /// nearer. When less than a quarter of either is reached: latency-bound where a call takes less than
  /// kLatencyUs, of which starting threads or a GPU's kernel and waiting for them is much; else
  /// instruction-bound, by what neither limit counts.
  std::string verdict() const;
};

std::string to_json(const Record& r);
/// One record a line. Throws std::invalid_argument with file, line and what is wrong.
std::vector<Record> read_records(const std::string& path);
std::vector<Record> parse_records(const std::string& text, const std::string& path);

}  // namespace hh::bench
