// SPDX-License-Identifier: Apache-2.0
#include "retrieval/codes/code_statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "kernels/core/parallel.h"

namespace hh::retrieval {
namespace {

double binary_entropy(double p) {
  return p <= 0 || p >= 1 ? 0 : -p * std::log2(p) - (1 - p) * std::log2(1 - p);
}

/// columns[j]: bit j of all codes, 64 codes a word.
std::vector<std::vector<std::uint64_t>> by_bits(CodesView codes) {
  std::vector<std::vector<std::uint64_t>> columns(
      std::size_t(codes.bits), std::vector<std::uint64_t>(std::size_t(codes.count + 63) / 64));
  cpu::parallel_for(codes.bits, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t j = begin; j < end; ++j) {
      auto& column = columns[std::size_t(j)];
      for (std::int64_t i = 0; i < codes.count; ++i) {
        column[std::size_t(i / 64)] |= std::uint64_t{codes.bit(i, int(j))} << (i % 64);
      }
    }
  });
  return columns;
}

std::int64_t both(const std::vector<std::uint64_t>& a, const std::vector<std::uint64_t>& b) {
  std::int64_t count = 0;
  for (std::size_t w = 0; w < a.size(); ++w) count += std::popcount(a[w] & b[w]);
  return count;
}

double mean_abs_correlation(const std::vector<std::vector<std::uint64_t>>& columns,
                            const std::vector<double>& ones, double count) {
  const auto bits = std::int64_t(columns.size());
  std::vector<double> sums(columns.size());  // of row j, with bits after j
  cpu::parallel_for(bits, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t j = begin; j < end; ++j) {
      const double p = ones[std::size_t(j)];
      for (std::int64_t l = j + 1; l < bits; ++l) {
        const double q = ones[std::size_t(l)];
        const double variance = p * (1 - p) * q * (1 - q);
        if (variance <= 0) continue;
        const double together = double(both(columns[std::size_t(j)], columns[std::size_t(l)]));
        sums[std::size_t(j)] += std::abs(together / count - p * q) / std::sqrt(variance);
      }
    }
  });
  if (bits < 2) return 0;  // no pair
  return std::accumulate(sums.begin(), sums.end(), 0.0) / (double(bits) * double(bits - 1) / 2);
}

void count_collisions(CodesView codes, CodeStatistics& statistics) {
  std::vector<std::int64_t> order(std::size_t(codes.count));
  std::iota(order.begin(), order.end(), 0);
  const auto less = [&](std::int64_t a, std::int64_t b) {
    const auto x = codes.row(a), y = codes.row(b);
    return std::lexicographical_compare(x.begin(), x.end(), y.begin(), y.end());
  };
  std::sort(order.begin(), order.end(), less);
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin + 1;
    while (end < order.size() && !less(order[begin], order[end])) ++end;
    const auto group = std::int64_t(end - begin);
    ++statistics.distinct;
    if (group > 1) statistics.colliding += group;
    statistics.largest_group = std::max(statistics.largest_group, group);
    begin = end;
  }
}

}  // namespace

CodeStatistics code_statistics(CodesView codes) {
  CodeStatistics statistics{.count = codes.count, .bits = codes.bits};
  statistics.ones.resize(std::size_t(codes.bits));
  statistics.entropy.resize(std::size_t(codes.bits));
  if (codes.count == 0) return statistics;
  const auto columns = by_bits(codes);
  for (std::size_t j = 0; j < columns.size(); ++j) {
    const double p = double(both(columns[j], columns[j])) / double(codes.count);
    statistics.ones[j] = p;
    statistics.entropy[j] = binary_entropy(p);
    statistics.mean_imbalance += std::abs(p - 0.5) * 2 / codes.bits;
    statistics.mean_entropy += statistics.entropy[j] / codes.bits;
  }
  statistics.mean_abs_correlation =
      mean_abs_correlation(columns, statistics.ones, double(codes.count));
  count_collisions(codes, statistics);
  return statistics;
}

}  // namespace hh::retrieval
