// SPDX-License-Identifier: Apache-2.0
#include "bench/support/compare.h"

#include <catch2/catch.hpp>
#include <random>

namespace hh::bench {
namespace {

constexpr double kLeast = 0.05;

/// What a machine multiplies times by, for what is bound by arithmetic and by memory.
struct Machine {
  double product = 1, copy = 1;
  double slow = 0;  // the share of rounds that fall in a slow spell, which makes all of them slower
};

/// Twelve rounds of a case of `us`, of which the share `memory` is bound by memory and the rest by
/// arithmetic, with `noise` on top, of its own and of each reference.
Record run_of(double us, double noise, unsigned seed, Machine machine = {}, double memory = 0.5) {
  std::mt19937 random(seed);
  const auto uniform = [&] { return double(random()) / double(std::mt19937::max()); };
  const auto noisy = [&] { return 1 + noise * uniform(); };
  Record r{.name = "add/f32/1000", .device = "cpu", .bytes = 1};
  for (int i = 0; i < 12; ++i) {
    const double spell = uniform() < machine.slow ? 1.3 + uniform() : 1;
    const double product = spell * machine.product, copy = spell * machine.copy;
    r.rounds.push_back({us * (copy * memory + product * (1 - memory)) * noisy(),
                        1000 * product * noisy(), 500 * copy * noisy()});
  }
  return r;
}

/// How many of 200 pairs of runs are called `change`.
template <class Before, class After>
int found(Change change, const Before& before, const After& after) {
  int n = 0;
  for (unsigned seed = 0; seed < 200; ++seed) {
    n += compare(before(seed), after(seed + 1000), kLeast).change == change ? 1 : 0;
  }
  return n;
}

TEST_CASE("a run compared with itself shows no change", "[bench]") {
  for (const double noise : {0.0, 0.01, 0.5}) {
    const Record r = run_of(100, noise, 1);
    const Comparison c = compare(r, r, kLeast);
    CHECK(c.ratio == 1);
    CHECK(c.change == Change::kNone);
  }
}

TEST_CASE("two runs of the same thing show no change, whatever the machine does", "[bench]") {
  const double memory = GENERATE(0.0, 0.5, 1.0);
  const auto [noise, before, after] = GENERATE(table<double, Machine, Machine>({
      {0.05, {}, {}},
      {0.2, {}, {}},
      {0.05, {1, 1, 0.5}, {1, 1, 0.5}},
      {0.05, {1, 1, 0.5}, {1.3, 1.3}},   // a slower clock
      {0.05, {1, 1, 0.2}, {1, 2, 0.2}},  // half the bandwidth
      {0.05, {2.5, 1, 0.5}, {1, 1}},     // faster at arithmetic
      {0.05, {}, {1.5, 1.5, 0.9}},       // a spell as long as the run
  }));
  CAPTURE(memory, noise, after.product, after.copy);
  const auto run = [&](double n, Machine m) {
    return [=](unsigned seed) { return run_of(100, n, seed, m, memory); };
  };
  CHECK(found(Change::kNone, run(noise, before), run(noise, after)) >=
        190);  // a false one in twenty
}

TEST_CASE("a tenth more time is found, and a tenth less", "[bench]") {
  const double memory = GENERATE(0.0, 0.5, 1.0);
  const Machine machine = GENERATE(Machine{}, Machine{1, 1, 0.3});
  CAPTURE(memory, machine.slow);
  const auto at = [&](double us) {
    return [=](unsigned seed) { return run_of(us, 0.05, seed, machine, memory); };
  };
  CHECK(found(Change::kSlower, at(100), at(110)) >= 180);
  CHECK(found(Change::kFaster, at(110), at(100)) >= 180);
}

TEST_CASE("a fifth more time is found though the machine became slower or faster", "[bench]") {
  const Machine other = GENERATE(Machine{1.3, 1.3, 0.3}, Machine{0.8, 0.8, 0.3});
  const auto at = [&](double us, Machine m) {
    return [=](unsigned s) { return run_of(us, 0.05, s, m); };
  };
  CHECK(found(Change::kSlower, at(100, {}), at(120, other)) >= 180);
  CHECK(found(Change::kFaster, at(120, other), at(100, {})) >= 180);
}

TEST_CASE("a change is large and in all rounds, both", "[bench]") {
  // 4 %: certain, and too small.
  CHECK(compare(run_of(100, 0, 1), run_of(104, 0, 2), kLeast).change == Change::kNone);
  // Twice as slow, but for one round.
  Record before = run_of(100, 0.02, 1), after = run_of(200, 0.02, 2);
  CHECK(compare(before, after, kLeast).change == Change::kSlower);
  CHECK(compare(after, before, kLeast).change == Change::kFaster);
  after.rounds[5].us = before.fast();
  CHECK(compare(before, after, kLeast).change == Change::kNone);
  CHECK(compare(after, before, kLeast).change == Change::kNone);
  // In too few rounds to tell.
  before = run_of(100, 0.02, 1), after = run_of(200, 0.02, 2);
  after.rounds.resize(4);
  CHECK(compare(before, after, kLeast).change == Change::kNone);
  // Without references the times alone decide.
  before = run_of(100, 0.02, 1), after = run_of(110, 0.02, 2);
  for (Record* r : {&before, &after}) {
    for (Round& round : r->rounds) round.product_us = round.copy_us = 0;
  }
  CHECK(compare(before, after, kLeast).change == Change::kSlower);
}

}  // namespace
}  // namespace hh::bench
