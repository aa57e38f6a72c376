// Whether two runs of a case differ.
#pragma once
#include <span>

#include "bench/support/record.h"

namespace hh::bench {

enum class Change { kNone, kFaster, kSlower };
struct Comparison {
  double ratio;  // median of the second over the first's
  double p;      // two-sided Mann-Whitney: chance of ranks this uneven if nothing had changed
  Change change;
};

/// A change is one of the medians by at least `least` (0.05: 5 %), at p < 0.001,
/// where each median lies outside the other run's p10-p90 range: with 200 samples the rank test
/// alone calls every drift of the machine's clock a change.
Comparison compare(const Record& before, const Record& after, double least);

double mann_whitney_p(std::span<const double> a, std::span<const double> b);

/// `hh_bench compare A B`: prints a table; the exit status.
int compare_command(std::span<const std::string> words);

}  // namespace hh::bench
