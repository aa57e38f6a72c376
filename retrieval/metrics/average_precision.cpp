// SPDX-License-Identifier: Apache-2.0
#include "retrieval/metrics/average_precision.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace hh::retrieval {
namespace {

/// H(a + n) - H(a) = 1/(a+1) + ... + 1/(a+n), to a few roundings whatever a and n: the differences
/// of the asymptotic series H(x) = ln x + gamma + 1/(2x) - 1/(12x^2) + 1/(120x^4) - 1/(252x^6) are
/// taken term by term, so that nothing large cancels.
double harmonic_difference(std::int64_t a, std::int64_t n) {
  constexpr std::int64_t kSeriesFrom = 64;  // there the next term, 1/(240x^8), is below 2e-17
  constexpr std::int64_t kFewTerms = 16;    // cheaper to add up
  double sum = 0;
  for (; n > 0 && (a < kSeriesFrom || n <= kFewTerms); --n) sum += 1 / double(++a);
  if (n == 0) return sum;
  const double x = double(a), y = double(a + n);
  const auto tail = [](double v) {
    const double s = 1 / (v * v);
    return 0.5 / v - s * (1.0 / 12 - s * (1.0 / 120 - s / 252));
  };
  return sum + std::log1p(double(n) / x) + (tail(y) - tail(x));
}

/// Items seen so far, from the nearest on.
struct Before {
  std::int64_t items = 0, relevant = 0;
  double precisions = 0;  // sum of the precisions at the relevant ones
};

/// Sum of the precisions at n hits in a row that follow `items` items with `relevant` hits:
/// sum_i (relevant + i) / (items + i).
double in_a_row(std::int64_t items, std::int64_t relevant, std::int64_t n) {
  return double(n) + double(relevant - items) * harmonic_difference(items, n);
}

/// Expected sum of the precisions at the hits of a group of n items, r >= 1 of them relevant, in
/// random order: sum_{t=1..n} (r/n) (R + 1 + (t-1) c) / (N + t), c = (r-1)/(n-1), where the inner
/// sum is c n + (R + 1 - c - c N) (H(N+n) - H(N)). `harmonic` is that difference.
double in_random_order(const Before& before, std::int64_t n, std::int64_t r, double harmonic) {
  const double c = n > 1 ? double(r - 1) / double(n - 1) : 0;
  const double constant = double(before.relevant) + 1 - c - c * double(before.items);
  return double(r) / double(n) * (c * double(n) + constant * harmonic);
}

/// Expected AP when only q < n items of a group (n items, r relevant) are above the cut: m relevant
/// ones among them with hypergeometric probability. The probabilities come from the ratios of
/// neighbours, beginning at the likeliest m, and are normalised by their sum.
double cut_in_group(const Before& before, std::int64_t n, std::int64_t r, std::int64_t q) {
  const std::int64_t least = std::max<std::int64_t>(0, q - (n - r)), most = std::min(q, r);
  const double harmonic = harmonic_difference(before.items, q);
  const std::int64_t mode = std::clamp<std::int64_t>(
      std::int64_t(double(q + 1) * double(r + 1) / double(n + 2)), least, most);
  double weights = 0, sum = 0;
  const auto add = [&](std::int64_t m, double weight) {
    weights += weight;
    const std::int64_t hits = before.relevant + m;
    if (hits == 0) return;
    const double precisions =
        before.precisions + (m > 0 ? in_random_order(before, q, m, harmonic) : 0);
    sum += weight * precisions / double(hits);
  };
  /// Probability of m + 1 over that of m.
  const auto ratio = [&](std::int64_t m) {
    return double(r - m) * double(q - m) / (double(m + 1) * double(n - r - q + m + 1));
  };
  constexpr double kNegligible = 1e-25;  // all of what is left out stays far below a rounding
  double weight = 1;
  add(mode, weight);
  for (std::int64_t m = mode; m < most && weight > kNegligible; ++m) {
    weight *= ratio(m);
    add(m + 1, weight);
  }
  weight = 1;
  for (std::int64_t m = mode; m > least && weight > kNegligible; --m) {
    weight /= ratio(m - 1);
    add(m - 1, weight);
  }
  return sum / weights;
}

/// The hits of each group stand together: at its beginning, or (worst) at its end.
double sorted_groups(const DistanceCounts& counts, std::int64_t k, bool relevant_first) {
  Before before;
  for (std::size_t d = 0; d < counts.retrieved.size() && before.items < k; ++d) {
    const std::int64_t n = counts.retrieved[d], r = counts.relevant[d];
    const std::int64_t ahead = before.items + (relevant_first ? 0 : n - r);
    const std::int64_t hits = std::clamp<std::int64_t>(k - ahead, 0, r);
    before.precisions += in_a_row(ahead, before.relevant, hits);
    before.relevant += hits;
    before.items += n;
  }
  return before.relevant == 0 ? 0 : before.precisions / double(before.relevant);
}

}  // namespace

double expected_average_precision(const DistanceCounts& counts, std::int64_t k) {
  Before before;
  for (std::size_t d = 0; d < counts.retrieved.size() && before.items < k; ++d) {
    const std::int64_t n = counts.retrieved[d], r = counts.relevant[d];
    if (n > k - before.items) return cut_in_group(before, n, r, k - before.items);
    if (r > 0) {
      before.precisions += in_random_order(before, n, r, harmonic_difference(before.items, n));
    }
    before.items += n;
    before.relevant += r;
  }
  return before.relevant == 0 ? 0 : before.precisions / double(before.relevant);
}

double best_average_precision(const DistanceCounts& counts, std::int64_t k) {
  return sorted_groups(counts, k, true);
}

double worst_average_precision(const DistanceCounts& counts, std::int64_t k) {
  return sorted_groups(counts, k, false);
}

}  // namespace hh::retrieval
