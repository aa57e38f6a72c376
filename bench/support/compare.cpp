// SPDX-License-Identifier: Apache-2.0
#include "bench/support/compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <stdexcept>
#include <vector>

namespace hh::bench {

namespace {

constexpr std::size_t kFewestRounds = 5;  // below, a slow spell can cover them all

/// How many times as slow the second run was in the n-th fastest round of a reference.
double slowdown(const Record& before, const Record& after, double Round::*which, std::size_t n) {
  const double b = before.nth_fastest(which, n), a = after.nth_fastest(which, n);
  return a > 0 && b > 0 ? a / b : 1;
}

/// The comparison if the machine was `slower` times as slow in the second run.
Comparison compare_at(const Record& before, const Record& after, double least, double slower) {
  const double b = before.fast(), a = after.fast() / slower;
  const auto fastest = [](const Record& r) { return r.nth_fastest(&Round::us, 0); };
  const auto fourth = [](const Record& r) { return r.nth_fastest(&Round::us, 3); };
  Comparison c{a / b, Change::kNone};
  if (std::min(before.rounds.size(), after.rounds.size()) < kFewestRounds) return c;
  if (c.ratio >= 1 + least && fastest(after) / slower > fourth(before)) c.change = Change::kSlower;
  if (1 / c.ratio >= 1 + least && fastest(before) > fourth(after) / slower)
    c.change = Change::kFaster;
  return c;
}

}  // namespace

Comparison compare(const Record& before, const Record& after, double least) {
  std::vector<double> slower;
  double unrest = 0;
  for (const auto which : {&Round::product_us, &Round::copy_us}) {
    if (before.nth_fastest(which, 0) <= 0 || after.nth_fastest(which, 0) <= 0) continue;
    slower.push_back(slowdown(before, after, which, 1));
    for (const std::size_t n : {std::size_t(1), std::size_t(4)}) {
      unrest = std::max(unrest, std::abs(std::log(slowdown(before, after, which, n))));
    }
  }
  if (slower.empty()) slower = {1};
  least += unrest / 4;
  Comparison c = compare_at(before, after, least, slower.front());
  const Comparison other = compare_at(before, after, least, slower.back());
  if (other.change != c.change) c.change = Change::kNone;
  if (std::abs(std::log(other.ratio)) < std::abs(std::log(c.ratio))) c.ratio = other.ratio;
  return c;
}

int compare_command(std::span<const std::string> words) {
  std::vector<std::string> files;
  bool fail = false;
  for (const auto& word : words) {
    if (word == "--fail-on-regression") {
      fail = true;
    } else if (word.starts_with("-")) {
      throw std::invalid_argument(word + ": unknown option; see hh_bench --help");
    } else {
      files.push_back(word);
    }
  }
  if (files.size() != 2)
    throw std::invalid_argument("compare: takes two files of hh_bench run --json");
  std::map<std::pair<std::string, std::string>, Record> before;
  for (Record& r : read_records(files[0])) before.emplace(std::pair(r.name, r.device), r);
  std::vector<double> ratios, products, copies;
  int faster = 0, slower = 0;
  std::printf("%-56s %10s %10s %7s\n", "case", "before us", "after us", "ratio");
  for (const Record& r : read_records(files[1])) {
    const auto found = before.find({r.name, r.device});
    if (found == before.end()) continue;
    if (found->second.cold != r.cold) {
      throw std::invalid_argument("compare: " + r.name +
                                  " was timed with warm caches in one file and cold ones in the "
                                  "other; run both with --cold or --warm");
    }
    const Comparison c = compare(found->second, r, 0.05);
    ratios.push_back(c.ratio);
    const std::size_t middle = r.rounds.size() / 2;
    products.push_back(slowdown(found->second, r, &Round::product_us, middle));
    copies.push_back(slowdown(found->second, r, &Round::copy_us, middle));
    if (c.change == Change::kNone) continue;
    (c.change == Change::kSlower ? slower : faster) += 1;
    std::printf("%-56s %10.2f %10.2f %7.3f %s\n", r.name.c_str(), found->second.fast(), r.fast(),
                c.ratio, c.change == Change::kSlower ? "slower" : "faster");
  }
  if (ratios.empty()) throw std::invalid_argument("compare: the files have no case in common");
  const auto at = [](std::vector<double>& values, double p) {
    std::sort(values.begin(), values.end());
    return values[std::size_t(p * double(values.size() - 1) + 0.5)];
  };
  const int both = int(ratios.size());
  std::printf(
      "%d cases in both: %d faster, %d slower, %d without a change; nine ratios in ten: %.3f to "
      "%.3f\n",
      both, faster, slower, both - faster - slower, at(ratios, 0.05), at(ratios, 0.95));
  std::printf("the machine itself, by what is timed beside the cases: product %.3f, copy %.3f\n",
              at(products, 0.5), at(copies, 0.5));
  return fail && slower > 0 ? 1 : 0;
}

}  // namespace hh::bench
