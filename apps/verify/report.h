// SPDX-License-Identifier: Apache-2.0
// The outcome of `hybridhash verify`: one row per compared tensor or number.
#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "engine/files/safetensors.h"

namespace hh::apps {

struct Check {
  std::string tensor;
  double max_error = 0;  // absolute
  double l2_error = 0;   // |ours - reference| / |reference|
  double tolerance = 0;  // for max_error
  bool pass = false;
  std::string note;  // why, where it isn't plain
};

class Report {
 public:
  /// Values against reference values of the same count: passes when the largest error is at most
  /// `tolerance` and, with `l2_tolerance` > 0, the relative l2 error is at most that.
  void compare(const std::string& tensor, std::span<const float> ours,
               std::span<const double> reference, double tolerance, double l2_tolerance = 0);
  void compare(const std::string& tensor, double ours, double reference, double tolerance);
  /// Exact equality of counts, hashes and the like.
  void equal(const std::string& tensor, const std::string& ours, const std::string& reference);
  void add(Check check) { checks_.push_back(std::move(check)); }
  void append(const Report& other);

  using Filter = std::function<bool(const Check&)>;
  /// Whether a check of this kind failed.
  bool fails(const Filter& kind) const;
  /// Failed checks of this kind are replaced by those of `again` that passed, with `note`
  /// unless that is empty.
  void take_passes(const Report& again, const Filter& kind, const std::string& note);

  const std::vector<Check>& checks() const { return checks_; }
  std::size_t failures() const;
  /// Nothing failed, and something was checked.
  bool passed() const { return !checks_.empty() && failures() == 0; }
  /// A table for people, and JSON for programs.
  std::string table(bool failures_only) const;
  nlohmann::json json() const;

 private:
  std::vector<Check> checks_;
};

/// A golden tensor as the files keep it: in full, or as samples (first., strided., stat.:
/// docs/specification.md, section 8).
class GoldenTensors {
 public:
  explicit GoldenTensors(const SafetensorsFile& file) : file_(file) {}
  bool contains(const std::string& key) const;

  /// Compares all that is stored under `key`. `relative_tolerance` is of the reference's largest
  /// magnitude. A key that isn't there is a failed check, and so is a wrong count.
  void compare(const std::string& key, std::span<const float> ours, double relative_tolerance,
               double l2_tolerance, Report& report) const;
  /// Whatever is stored of `key`'s values, beside ours: full, or first and strided samples.
  struct Sample {
    std::vector<float> ours;
    std::vector<double> reference;
  };
  Sample sample(const std::string& key, std::span<const float> ours) const;
  double largest_magnitude(const std::string& key) const;

 private:
  void compare_statistics(const std::string& key, std::span<const float> ours, double tolerance,
                          Report& report) const;
  const SafetensorsFile& file_;
};

}  // namespace hh::apps
