#include "bench/support/compare.h"

#include <cmath>
#include <cstdio>
#include <map>
#include <stdexcept>

namespace hh::bench {

// Normal approximation with the correction for ties and for continuity. Runs have 15 samples or
// more, where it is good to a few per cent of p.
double mann_whitney_p(std::span<const double> a, std::span<const double> b) {
  std::vector<std::pair<double, bool>> all;
  for (const double t : a) all.emplace_back(t, true);
  for (const double t : b) all.emplace_back(t, false);
  std::sort(all.begin(), all.end());
  const auto n = double(all.size()), na = double(a.size()), nb = double(b.size());
  double rank_sum = 0, ties = 0;
  for (std::size_t i = 0; i < all.size();) {
    std::size_t j = i, mine = 0;
    for (; j < all.size() && all[j].first == all[i].first; ++j) mine += all[j].second ? 1 : 0;
    const auto count = double(j - i);
    rank_sum += double(mine) * (double(i + 1) + double(j)) / 2;
    ties += count * count * count - count;
    i = j;
  }
  if (n < 2 || na == 0 || nb == 0) return 1;
  const double u = rank_sum - na * (na + 1) / 2, middle = na * nb / 2;
  const double variance = na * nb / 12 * (n + 1 - ties / (n * (n - 1)));
  if (variance <= 0) return 1;
  const double z = std::max(std::abs(u - middle) - 0.5, 0.0) / std::sqrt(variance);
  return std::erfc(z / std::sqrt(2.0));
}

Comparison compare(const Record& before, const Record& after, double least) {
  const double b = before.median(), a = after.median();
  Comparison c{a / b, mann_whitney_p(before.us, after.us), Change::kNone};
  const auto outside = [](double t, const Record& r) {
    return t < r.percentile(0.1) || t > r.percentile(0.9);
  };
  if (c.p < 0.001 && outside(a, before) && outside(b, after)) {
    if (a >= b * (1 + least)) c.change = Change::kSlower;
    if (b >= a * (1 + least)) c.change = Change::kFaster;
  }
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
  int both = 0, faster = 0, slower = 0;
  std::printf("%-56s %10s %10s %7s %9s\n", "case", "before us", "after us", "ratio", "p");
  for (const Record& r : read_records(files[1])) {
    const auto found = before.find({r.name, r.device});
    if (found == before.end()) continue;
    ++both;
    const Comparison c = compare(found->second, r, 0.05);
    if (c.change == Change::kNone) continue;
    (c.change == Change::kSlower ? slower : faster) += 1;
    std::printf("%-56s %10.2f %10.2f %7.3f %9.1e %s\n", r.name.c_str(), found->second.median(),
                r.median(), c.ratio, c.p, c.change == Change::kSlower ? "slower" : "faster");
  }
  if (both == 0) throw std::invalid_argument("compare: the files have no case in common");
  std::printf("%d cases in both: %d faster, %d slower, %d without a change\n", both, faster, slower,
              both - faster - slower);
  return fail && slower > 0 ? 1 : 0;
}

}  // namespace hh::bench
