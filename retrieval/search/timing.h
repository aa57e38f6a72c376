// SPDX-License-Identifier: Apache-2.0
// Wall-clock time of work that is measured to choose between ways.
#pragma once
#include <algorithm>
#include <chrono>

namespace hh::retrieval {

constexpr double kNano = 1e9;  // nanoseconds of a second

double seconds(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The least of a few tries: other programs only ever make it longer.
double least_seconds(const auto& work, int tries = 8) {
  double least = seconds(work);
  for (int i = 1; i < tries; ++i) least = std::min(least, seconds(work));
  return least;
}

}  // namespace hh::retrieval
