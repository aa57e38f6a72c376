// SPDX-License-Identifier: Apache-2.0
// Whether two runs of a case differ.
#pragma once
#include <span>

#include "bench/support/record.h"

namespace hh::bench {

enum class Change { kNone, kFaster, kSlower };
struct Comparison {
  double ratio;  // fast() of the second over the first's, less what the machine explains
  Change change;
};

/// Runs are compared at the machine's best, their second fastest rounds: those come back where
/// medians don't, since a virtual machine is slower by half for seconds at a time. What remains is
/// the machine's own change, which the references show: the second run's times are divided once by
/// how much slower the product beside the case has become and once by how much slower the copy has.
/// A change holds both times, is one by at least `least` (0.05: 5 %) and a quarter of the greatest
/// change of a reference (by its second or fifth fastest round), and the slower run's fastest round
/// is above the fourth fastest of the other.
Comparison compare(const Record& before, const Record& after, double least);

/// `hh_bench compare A B`: prints a table; the exit status.
int compare_command(std::span<const std::string> words);

}  // namespace hh::bench
