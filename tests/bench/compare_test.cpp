#include "bench/support/compare.h"

#include <catch2/catch.hpp>
#include <random>

namespace hh::bench {
namespace {

/// `n` times around `centre` us, `spread` of it either way.
Record run_of(double centre, double spread, unsigned seed, int n = 50) {
  std::mt19937 random(seed);
  Record r{.name = "add/f32/1000", .device = "cpu", .bytes = 1};
  for (int i = 0; i < n; ++i) {
    const double u = double(random()) / double(std::mt19937::max());
    r.us.push_back(centre * (1 + spread * (2 * u - 1)));
  }
  std::sort(r.us.begin(), r.us.end());
  return r;
}

TEST_CASE("a run compared with itself shows no change", "[bench]") {
  for (const double spread : {0.0, 0.01, 0.5}) {
    const Record r = run_of(100, spread, 1);
    const Comparison c = compare(r, r, 0.05);
    CHECK(c.ratio == 1);
    CHECK(c.p == 1);
    CHECK(c.change == Change::kNone);
  }
}

TEST_CASE("two runs of the same thing show no change", "[bench]") {
  for (unsigned seed = 0; seed < 100; ++seed) {
    CAPTURE(seed);
    CHECK(compare(run_of(100, 0.2, seed), run_of(100, 0.2, seed + 1000), 0.05).change ==
          Change::kNone);
  }
}

TEST_CASE("a change is large, unlikely and outside the spread, all three", "[bench]") {
  CHECK(compare(run_of(100, 0.02, 1), run_of(110, 0.02, 2), 0.05).change == Change::kSlower);
  CHECK(compare(run_of(110, 0.02, 1), run_of(100, 0.02, 2), 0.05).change == Change::kFaster);
  // 4 %: certain, and too small.
  const Comparison small = compare(run_of(100, 0.002, 1), run_of(104, 0.002, 2), 0.05);
  CHECK(small.p < 1e-6);
  CHECK(small.change == Change::kNone);
  // 10 % in runs that spread by 30 %: unlikely by rank, yet within p10 to p90.
  const Comparison wide = compare(run_of(100, 0.3, 1, 200), run_of(110, 0.3, 2, 200), 0.05);
  CHECK(wide.p < 0.001);
  CHECK(wide.change == Change::kNone);
  // Twice as slow, in too few samples to tell.
  CHECK(compare(run_of(100, 0.02, 1, 3), run_of(200, 0.02, 2, 3), 0.05).change == Change::kNone);
}

TEST_CASE("the rank test agrees with its normal approximation worked by hand", "[bench]") {
  // U = 0 of 5 x 5: z = (12.5 - 0.5) / sqrt(25 / 12 * 11) = 2.5067, two-sided p = 0.012186.
  const std::vector<double> low{1, 2, 3, 4, 5}, high{6, 7, 8, 9, 10};
  CHECK(mann_whitney_p(low, high) == Approx(0.012186).epsilon(1e-3));
  CHECK(mann_whitney_p(high, low) == mann_whitney_p(low, high));
  // Ties: U = 1 + 2 halves, variance 9 / 12 * (7 - 12 / 30).
  CHECK(
      mann_whitney_p(std::vector<double>{1, 2, 2}, std::vector<double>{2, 3, 4}) ==
      Approx(std::erfc((4.5 - 1 - 0.5) / std::sqrt(9.0 / 12 * (7 - 24.0 / 30)) / std::sqrt(2.0))));
  CHECK(mann_whitney_p(std::vector<double>{2, 2}, std::vector<double>{2, 2}) == 1);
}

}  // namespace
}  // namespace hh::bench
