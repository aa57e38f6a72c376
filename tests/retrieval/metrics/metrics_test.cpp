// SPDX-License-Identifier: Apache-2.0
// Metrics against the goldens (docs/specification.md, section 8) and against plain definitions.
#include "retrieval/metrics/metrics.h"

#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "engine/files/safetensors.h"
#include "kernels/core/parallel.h"
#include "kernels/core/philox.h"
#include "retrieval/metrics/average_precision.h"
#include "retrieval/search/hamming_scan.h"
#include "tests/support/goldens.h"

namespace hh::retrieval {
namespace {

std::vector<std::uint8_t> bytes(const SafetensorsFile& file, const std::string& name) {
  const auto span = file.entry(name).bytes;
  const auto* first = reinterpret_cast<const std::uint8_t*>(span.data());
  return {first, first + span.size()};
}

/// Codes and labels of one side of a golden case.
struct Side {
  PackedCodes codes;
  std::vector<std::uint64_t> labels;
  int classes;

  Side(const SafetensorsFile& file, const std::string& prefix) {
    const auto& codes_shape = file.entry(prefix + "_codes").shape;
    codes = PackedCodes::from_bytes(bytes(file, prefix + "_codes"), codes_shape[0],
                                    int(codes_shape[1]) * 8);
    const auto& labels_shape = file.entry(prefix + "_labels").shape;
    classes = int(labels_shape[1]);
    labels = pack_labels(bytes(file, prefix + "_labels"), labels_shape[0], classes);
  }
  LabelledCodes view() const { return {codes, {labels.data(), codes.count(), classes}}; }
};

/// The goldens' hypergeometric weights come from log-gamma differences: numbers up to 4e4, whose
/// rounding of 4e4 * 2^-53 each makes them uncertain by some 1e-11. All else is a few roundings.
constexpr double kTolerance = 1e-10;

TEST_CASE("metrics equal the goldens", "[metrics][goldens]") {
  std::ifstream in(testing::goldens_dir() / "metrics.json");
  REQUIRE(in);
  const auto json = nlohmann::json::parse(in);
  const auto file = SafetensorsFile::open(testing::goldens_dir() / "metrics.safetensors");
  int cases = 0;
  for (const auto& [name, golden] : json.items()) {
    if (!golden.is_object()) continue;
    ++cases;
    CAPTURE(name);
    const Side queries(file, name + ".query"), database(file, name + ".db");
    const std::int64_t n = database.codes.count();
    const std::pair<const char*, std::int64_t> ks[] = {
        {"full", 0}, {"all_topK_-1", -1}, {"5000", 5000}, {"1000", 1000}, {"100", 100}, {"10", 10}};
    for (const auto& [label, k] : ks) {
      CAPTURE(label);
      const Evaluation e =
          evaluate(queries.view(), database.view(), {.top_k = k, .bootstrap_samples = 0});
      REQUIRE(e.map[TieRule::kStable] ==
              Approx(golden["map_stable"][label].get<double>()).epsilon(kTolerance));
      REQUIRE(e.map[TieRule::kExpected] ==
              Approx(golden["map_expected"][label].get<double>()).epsilon(kTolerance));
      REQUIRE(e.map[TieRule::kBest] >= e.map[TieRule::kExpected]);
      REQUIRE(e.map[TieRule::kWorst] <= e.map[TieRule::kExpected]);
      REQUIRE(e.without_relevant == golden["queries_without_relevant"]);
      for (const auto& [rule, stem] : {std::pair{TieRule::kStable, ".ap_stable_"},
                                       std::pair{TieRule::kExpected, ".ap_expected_"}}) {
        const std::string tensor = name + stem + label;
        if (!file.contains(tensor)) continue;
        const auto want = file.to_doubles(tensor);
        for (std::size_t q = 0; q < want.size(); ++q) {
          CAPTURE(tensor, q);
          REQUIRE(e.average_precision[rule][q] == Approx(want[q]).epsilon(kTolerance));
        }
      }
    }

    const Evaluation e = evaluate(queries.view(), database.view());
    for (const AtRank& at : e.at_rank) {
      const std::string k = std::to_string(at.k);
      REQUIRE(at.precision ==
              Approx(golden["precision_at_k_stable"][k].get<double>()).epsilon(1e-12));
      REQUIRE(at.recall == Approx(golden["recall_at_k_stable"][k].get<double>()).epsilon(1e-12));
    }
    REQUIRE(e.at_rank.size() == golden["precision_at_k_stable"].size());
    const auto& by_radius = golden["by_radius"];
    REQUIRE(e.at_radius.size() == by_radius["retrieved"].size());
    for (std::size_t r = 0; r < e.at_radius.size(); ++r) {
      CAPTURE(r);
      const AtRadius& at = e.at_radius[r];
      REQUIRE(at.retrieved == by_radius["retrieved"][r]);
      REQUIRE(at.relevant == by_radius["relevant"][r]);
      REQUIRE(at.answered == by_radius["queries_with_results"][r]);
      const auto& pooled = by_radius["precision_micro"][r];
      REQUIRE(at.precision_pooled ==
              Approx(pooled.is_null() ? 0 : pooled.get<double>()).epsilon(1e-12));
      REQUIRE(at.precision ==
              Approx(by_radius["precision_mean_empty_is_0"][r].get<double>()).epsilon(1e-12));
      REQUIRE(at.recall == Approx(by_radius["recall_mean"][r].get<double>()).epsilon(1e-12));
    }
    REQUIRE(e.within_radius.precision ==
            Approx(golden["precision_within_radius_2"].get<double>()).epsilon(1e-12));

    const TopkResult top = HammingScan(database.codes).topk(queries.codes, 10);
    REQUIRE(top.rows == file.to_int64s(name + ".stable_top10"));
    const TopkResult all = HammingScan(database.codes).topk(queries.codes.view().slice(0, 1), n);
    const auto row0 = file.to_int64s(name + ".hamming_row0");
    std::int64_t wrong = 0;
    for (std::size_t i = 0; i < std::size_t(n); ++i) {
      wrong += all.distances[i] != row0[std::size_t(all.rows[i])];
    }
    REQUIRE(wrong == 0);
  }
  REQUIRE(cases == 6);
}

/// AP of relevances in order of ranks.
double ap(const std::vector<bool>& relevant, std::int64_t k) {
  double sum = 0, hits = 0;
  for (std::size_t t = 0; t < std::min(relevant.size(), std::size_t(k)); ++t) {
    if (relevant[t]) sum += ++hits / double(t + 1);
  }
  return hits == 0 ? 0 : sum / hits;
}

TEST_CASE("tie rules agree with all orders of ties", "[metrics]") {
  // Groups of (items, relevant ones), few enough that every order can be tried.
  const std::vector<std::vector<std::pair<std::uint32_t, std::uint32_t>>> cases = {
      {{3, 1}},
      {{1, 1}, {4, 2}},
      {{2, 0}, {0, 0}, {5, 3}, {1, 0}},
      {{3, 3}, {3, 0}, {2, 1}},
      {{4, 0}, {4, 0}},
      {{0, 0}, {6, 2}, {2, 2}}};
  for (const auto& groups : cases) {
    std::vector<std::uint32_t> retrieved, relevant;
    // One string of 0s and 1s per group, 0s first: its permutations are the orders of the group.
    std::vector<std::string> orders;
    std::int64_t items = 0;
    for (const auto& [n, r] : groups) {
      retrieved.push_back(n);
      relevant.push_back(r);
      orders.push_back(std::string(n - r, '0') + std::string(r, '1'));
      items += n;
    }
    const DistanceCounts counts{retrieved, relevant};
    for (std::int64_t k = 0; k <= items + 1; ++k) {
      double sum = 0, best = 0, worst = 1;
      std::int64_t number = 0;
      const std::function<void(std::size_t, std::string)> each = [&](std::size_t g,
                                                                     const std::string& before) {
        if (g == orders.size()) {
          std::vector<bool> ranking;
          for (const char c : before) ranking.push_back(c == '1');
          const double value = ap(ranking, k);
          sum += value;
          best = std::max(best, value);
          worst = std::min(worst, value);
          ++number;
          return;
        }
        std::string order = orders[g];
        do each(g + 1, before + order);
        while (std::next_permutation(order.begin(), order.end()));
      };
      each(0, "");
      CAPTURE(items, k, number);
      REQUIRE(expected_average_precision(counts, k) == Approx(sum / double(number)).margin(1e-14));
      // "best" and "worst" say where the relevant ones stand. That is the best and worst AP unless
      // the cut leaves hits out, since AP divides by the hits that are left.
      if (k >= items) {
        REQUIRE(best_average_precision(counts, k) == Approx(best).margin(1e-14));
        REQUIRE(worst_average_precision(counts, k) == Approx(worst).margin(1e-14));
      }
      std::vector<bool> first, last;
      for (const std::string& order : orders) {
        for (const char c : order) last.push_back(c == '1');
        for (auto c = order.rbegin(); c != order.rend(); ++c) first.push_back(*c == '1');
      }
      REQUIRE(best_average_precision(counts, k) == Approx(ap(first, k)).margin(1e-14));
      REQUIRE(worst_average_precision(counts, k) == Approx(ap(last, k)).margin(1e-14));
    }
  }
}

/// The same sums as in docs/specification.md, section 5, term by term in long double.
double expected_by_sums(const std::vector<std::uint32_t>& retrieved,
                        const std::vector<std::uint32_t>& relevant) {
  long double sum = 0, N = 0, R = 0;
  for (std::size_t d = 0; d < retrieved.size(); ++d) {
    const long double n = retrieved[d], r = relevant[d];
    for (std::uint32_t t = 1; t <= retrieved[d] && r > 0; ++t) {
      const long double inner = n > 1 ? (t - 1) * (r - 1) / (n - 1) : 0;
      sum += r / n * (R + 1 + inner) / (N + t);
    }
    N += n;
    R += r;
  }
  return double(R == 0 ? 0 : sum / R);
}

TEST_CASE("closed forms keep their accuracy in large groups", "[metrics]") {
  const std::uint64_t seed = GENERATE(range(0, 8));
  const Philox random(seed, RandomPurpose::kTest, 4);
  std::vector<std::uint32_t> retrieved, relevant;
  for (std::uint64_t d = 0; d < 65; ++d) {
    const std::uint32_t size = 1u << random.below(3 * d, 17);
    retrieved.push_back(random.below(3 * d + 1, size));
    relevant.push_back(random.below(3 * d + 2, retrieved.back() / (1 + std::uint32_t(seed)) + 1));
  }
  const double want = expected_by_sums(retrieved, relevant);
  // Each group's two terms may cancel down to its precision, some 1/64 of them; 65 groups.
  REQUIRE(expected_average_precision({retrieved, relevant}, std::int64_t{1} << 40) ==
          Approx(want).epsilon(1e-12));
}

struct Random {
  PackedCodes query_codes, database_codes;
  std::vector<std::uint64_t> query_labels, database_labels;
  LabelledCodes queries, database;

  Random(std::int64_t q, std::int64_t n, int bits, int classes)
      : query_codes(q, bits), database_codes(n, bits) {
    const Philox random(std::uint64_t(q * n), RandomPurpose::kTest, 5);
    std::uint64_t next = 0;
    const auto fill = [&](PackedCodes& codes, std::vector<std::uint64_t>& labels) {
      for (std::int64_t i = 0; i < codes.count(); ++i) {
        const int c = int(random.below(next++, std::uint32_t(classes)));
        labels.push_back(std::uint64_t{1} << c);
        for (int j = 0; j < bits; ++j) {
          codes.set(i, j, (j % classes == c) != (random.below(next++, 4) == 0));
        }
      }
    };
    fill(query_codes, query_labels);
    fill(database_codes, database_labels);
    queries = {query_codes, {query_labels.data(), q, classes}};
    database = {database_codes, {database_labels.data(), n, classes}};
  }
};

TEST_CASE("the rank curve follows the reference's definition", "[metrics]") {
  Random data(7, 120, 16, 5);
  data.query_labels[3] = 0;  // no label: nothing is relevant to it
  for (const std::int64_t k : {0, 25}) {
    const Evaluation e = evaluate(data.queries, data.database, {.top_k = k, .ks = {1, 60}});
    const std::int64_t top = k == 0 ? 120 : k;
    REQUIRE(e.rank_curve.precision.size() == std::size_t(top));
    std::vector<double> precision(e.rank_curve.precision.size()), recall(precision);
    int with_hit = 0;
    const TopkResult ranking =
        HammingScan(data.query_codes.count() ? data.database.codes : data.queries.codes)
            .topk(data.query_codes, top);
    for (std::int64_t q = 0; q < 7; ++q) {
      std::vector<double> hits;
      for (const std::int64_t row : ranking.rows_of(q)) {
        const bool hit = data.query_labels[std::size_t(q)] & data.database_labels[std::size_t(row)];
        hits.push_back((hits.empty() ? 0 : hits.back()) + hit);
      }
      if (hits.back() == 0) continue;
      ++with_hit;
      for (std::size_t t = 0; t < hits.size(); ++t) {
        precision[t] += hits[t] / double(t + 1);
        recall[t] += hits[t] / hits.back();
      }
    }
    REQUIRE(e.rank_curve.queries == with_hit);
    REQUIRE(e.without_hit == 7 - with_hit);
    for (std::size_t t = 0; t < precision.size(); ++t) {
      CAPTURE(k, t);
      REQUIRE(e.rank_curve.precision[t] == Approx(precision[t] / with_hit).epsilon(1e-12));
      REQUIRE(e.rank_curve.recall[t] == Approx(recall[t] / with_hit).epsilon(1e-12));
    }
    REQUIRE(e.rank_curve.recall.back() == Approx(1));
  }
}

TEST_CASE("class rows average over the queries of a class", "[metrics]") {
  const Random data(40, 300, 24, 6);
  const Evaluation e = evaluate(data.queries, data.database, {.top_k = 50, .radius = 7});
  REQUIRE(e.classes.size() == 6);
  double sum = 0;
  std::int64_t queries = 0, database = 0;
  for (const ClassRow& row : e.classes) {
    sum += row.map[TieRule::kStable] * double(row.queries);
    queries += row.queries;
    database += row.database;
  }
  // One class an item, so the classes divide queries and database up.
  REQUIRE(queries == 40);
  REQUIRE(database == 300);
  REQUIRE(sum / 40 == Approx(e.map[TieRule::kStable]));
}

TEST_CASE("evaluation doesn't depend on threads, bit flips or batches", "[metrics]") {
  Random data(300, 500, 32, 10);  // more than one batch of queries
  cpu::set_num_threads(1);
  const Evaluation one = evaluate(data.queries, data.database);
  cpu::set_num_threads(3);
  const Evaluation three = evaluate(data.queries, data.database);
  cpu::set_num_threads(0);
  REQUIRE(one.average_precision.values == three.average_precision.values);
  REQUIRE(one.interval[TieRule::kStable].low == three.interval[TieRule::kStable].low);
  REQUIRE(one.rank_curve.recall == three.rank_curve.recall);
  const Evaluation part = evaluate(
      {data.queries.codes.slice(280, 300), data.queries.labels.slice(280, 300)}, data.database);
  for (std::size_t i = 0; i < 20; ++i) {
    REQUIRE(part.average_precision[TieRule::kExpected][i] ==
            one.average_precision[TieRule::kExpected][280 + i]);
  }
  for (PackedCodes* codes : {&data.query_codes, &data.database_codes}) {
    for (std::int64_t i = 0; i < codes->count(); ++i) codes->row(i)[0] ^= 0x5a5a1234u;
  }
  const Evaluation flipped = evaluate(data.queries, data.database);
  REQUIRE(flipped.average_precision.values == one.average_precision.values);
}

TEST_CASE("bootstrap intervals", "[metrics]") {
  std::vector<double> values;
  const Philox random(3, RandomPurpose::kTest, 6);
  double mean = 0;
  for (std::uint64_t i = 0; i < 400; ++i) {
    values.push_back(random.uniform(i));
    mean += values.back() / 400;
  }
  const Interval i = bootstrap_interval(values, 2000, 0.95, 1);
  // A mean of 400 uniform numbers deviates by 0.0144, so the interval is about 4 * 0.0144 wide. The
  // 2.5 % quantile of 2000 draws deviates by some 4 % of that.
  REQUIRE(i.high - i.low == Approx(2 * 1.96 * std::sqrt(1.0 / 12 / 400)).epsilon(0.15));
  REQUIRE(i.low < mean);
  REQUIRE(mean < i.high);
  REQUIRE(bootstrap_interval(values, 2000, 0.95, 1).low == i.low);
  REQUIRE(bootstrap_interval(values, 2000, 0.95, 2).low != i.low);
  const std::vector<double> constant(10, 0.5);
  REQUIRE(bootstrap_interval(constant, 100, 0.9, 0).low == 0.5);
  REQUIRE_THROWS_WITH(bootstrap_interval({}, 100, 0.9, 0), Catch::Contains("0 values"));
  REQUIRE_THROWS_WITH(bootstrap_interval(constant, 100, 1, 0), Catch::Contains("confidence = 1"));
}

TEST_CASE("evaluation of the smallest database", "[metrics]") {
  const Random data(2, 1, 8, 1);
  const Evaluation all = evaluate(data.queries, data.database);
  REQUIRE(all.map[TieRule::kStable] == 1);
  REQUIRE(all.at_rank.size() == 1);
  // All but the last of one item is none.
  const Evaluation none = evaluate(data.queries, data.database, {.top_k = -1});
  REQUIRE(none.top_k == 0);
  REQUIRE(none.map[TieRule::kStable] == 0);
  REQUIRE(none.map[TieRule::kBest] == 0);
  REQUIRE(none.without_hit == 2);
  REQUIRE(none.rank_curve.precision.empty());
}

TEST_CASE("evaluation names what it refuses", "[metrics]") {
  const Random data(2, 5, 16, 3), wider(2, 5, 24, 3), classes(2, 5, 16, 4);
  const LabelledCodes unlabelled{data.database.codes, {}};
  REQUIRE_THROWS_WITH(evaluate(wider.queries, data.database), Catch::Contains("24 bits"));
  REQUIRE_THROWS_WITH(evaluate(classes.queries, data.database), Catch::Contains("4 classes"));
  REQUIRE_THROWS_WITH(evaluate(data.queries, unlabelled), Catch::Contains("needs labels"));
  REQUIRE_THROWS_WITH(evaluate(data.queries, data.database, {.top_k = -2}),
                      Catch::Contains("top_k = -2"));
  REQUIRE_THROWS_WITH(evaluate(data.queries, data.database, {.ks = {0}}), Catch::Contains("k = 0"));
  const LabelledCodes empty{data.database.codes.slice(0, 0), data.database.labels.slice(0, 0)};
  REQUIRE_THROWS_WITH(evaluate(data.queries, empty), Catch::Contains("0 database items"));
}

}  // namespace
}  // namespace hh::retrieval
