// SPDX-License-Identifier: Apache-2.0
// What a set of codes is worth: mean average precision and its companions, for queries against a
// database. Similar = the items share a class. Time grows with the number of pairs, never faster:
// items are put in order by counting distances. Source: docs/specification.md, section 5.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/device/device.h"
#include "retrieval/codes/code_file.h"
#include "retrieval/codes/codes.h"
#include "retrieval/codes/labels_view.h"

namespace hh::retrieval {

/// How items at equal distance are ordered; average_precision.h says more.
enum class TieRule : std::uint8_t { kStable, kExpected, kBest, kWorst };
inline constexpr std::array kTieRules{TieRule::kStable, TieRule::kExpected, TieRule::kBest,
                                      TieRule::kWorst};
std::string to_string(TieRule rule);  // "stable", ...
template <class T>
struct ByTieRule {
  std::array<T, 4> values{};
  T& operator[](TieRule rule) { return values[std::size_t(rule)]; }
  const T& operator[](TieRule rule) const { return values[std::size_t(rule)]; }
};

struct LabelledCodes {
  CodesView codes;
  LabelsView labels;
};
/// Views of `set`, which must outlive them.
inline LabelledCodes labelled(const CodeSet& set) { return {set.codes.view(), set.label_view()}; }

struct EvaluationOptions {
  std::int64_t top_k = 0;  // ranks that count for mAP and the rank curve; 0: all; -1: all but the
                           // last (the reference's topK = -1 is a Python slice)
  std::vector<std::int64_t> ks{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000};
  int radius = 2;
  int bootstrap_samples = 1000;  // 0: no intervals
  double confidence = 0.95;
  std::uint64_t seed = 0;
  Device device = kCpu;
};

struct Interval {
  double low = 0, high = 0;
};

/// Precision and recall of the first k, ties by row, averaged over all queries. Recall is of all
/// relevant items; a query that has none counts 0.
struct AtRank {
  std::int64_t k = 0;
  double precision = 0, recall = 0;
};

/// Precision and recall at every rank 1..top_k (index 0 is rank 1) by the reference's
/// CalcTopMapWithPR: hits(k)/k and hits(k)/hits(top_k), averaged over the queries with a hit.
struct RankCurve {
  std::vector<double> precision, recall;
  std::int64_t queries = 0;  // with a hit
};

/// Everything within distance r, over all of the database.
struct AtRadius {
  int radius = 0;
  std::int64_t retrieved = 0, relevant = 0;  // summed over the queries
  double precision = 0;                      // mean over queries; one that finds nothing counts 0
  double precision_answered = 0;  // mean over the queries that find something; 0 if none does
  double precision_pooled = 0;    // relevant / retrieved; 0 if nothing is retrieved
  double recall = 0;              // mean over queries, of all relevant; none relevant counts 0
  std::int64_t answered = 0;      // queries that find something
};

struct ClassRow {
  int label = 0;
  std::int64_t queries = 0, database = 0;  // items that have it
  ByTieRule<double> map;                   // over those queries; 0 if there are none
  double precision_within_radius = 0, recall_within_radius = 0;
};

struct Evaluation {
  std::int64_t queries = 0, database = 0;
  int bits = 0;
  std::int64_t top_k = 0;  // ranks that counted
  ByTieRule<double> map;
  ByTieRule<Interval> interval;                      // of map, by bootstrap over the queries
  ByTieRule<std::vector<double>> average_precision;  // [queries]
  std::int64_t without_relevant = 0;  // queries with nothing relevant in the database
  std::int64_t without_hit = 0;       // queries with nothing relevant inside top_k; ties by row
  std::vector<AtRank> at_rank;        // of options.ks up to the database's size
  RankCurve rank_curve;
  std::vector<AtRadius> at_radius;  // r = 0 .. bits
  AtRadius within_radius;           // r = options.radius
  std::vector<ClassRow> classes;
};

/// Throws std::invalid_argument: widths or classes that differ, labels missing, no query or an
/// empty database, unusable options.
Evaluation evaluate(const LabelledCodes& queries, const LabelledCodes& database,
                    const EvaluationOptions& options = {});

/// Percentile interval of the mean: `samples` times as many values as there are, drawn with
/// replacement. The same for one seed on every machine.
Interval bootstrap_interval(std::span<const double> values, int samples, double confidence,
                            std::uint64_t seed);

}  // namespace hh::retrieval
