// SPDX-License-Identifier: Apache-2.0
#include "retrieval/metrics/metrics.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "engine/text/counted.h"
#include "kernels/core/parallel.h"
#include "retrieval/metrics/average_precision.h"
#include "retrieval/metrics/ranker.h"

namespace hh::retrieval {
namespace {

constexpr std::int64_t kBatch = 256;  // queries at a time: bounds the memory for rankings

void check(const LabelledCodes& queries, const LabelledCodes& database,
           const EvaluationOptions& options) {
  check_bits(database.codes.bits);
  HH_REQUIRE(queries.codes.bits == database.codes.bits,
             "queries of " << counted(queries.codes.bits, "bit") << " for a database of "
                           << database.codes.bits << "; encode both with the same model");
  HH_REQUIRE(queries.labels.classes >= 1 && database.labels.classes >= 1,
             "evaluation needs labels of queries and database: encode both with --part, "
             "--class-folder or --list");
  HH_REQUIRE(queries.labels.classes == database.labels.classes,
             "queries with " << counted(queries.labels.classes, "class", "classes")
                             << " for a database with " << database.labels.classes
                             << ": use the same classes for both");
  HH_REQUIRE(
      queries.codes.count == queries.labels.count && database.codes.count == database.labels.count,
      queries.codes.count << " and " << database.codes.count << " codes, but labels of "
                          << queries.labels.count << " and " << database.labels.count
                          << ": give one row each");
  HH_REQUIRE(queries.codes.count >= 1 && database.codes.count >= 1,
             "nothing to evaluate: " << counted(queries.codes.count, "query", "queries") << ", "
                                     << counted(database.codes.count, "database item")
                                     << ": at least one of each is needed");
  HH_REQUIRE(options.top_k >= -1, "top_k = " << options.top_k
                                             << ": a number of ranks, 0 for all, or -1 for all "
                                                "but the last");
  HH_REQUIRE(options.radius >= 0, "radius = " << options.radius << ": use 0 or more");
  HH_REQUIRE(options.bootstrap_samples >= 0,
             "bootstrap_samples = " << options.bootstrap_samples << ": use 0 (none) or more");
  HH_REQUIRE(options.confidence > 0 && options.confidence < 1,
             "confidence = " << options.confidence << ": use a number between 0 and 1");
}

/// Hits and recall by rank, as steps at the ranks of hits, summed over queries.
struct RankSums {
  explicit RankSums(std::int64_t depth)
      : hits(std::size_t(depth)), recall(std::size_t(depth)), curve_recall(std::size_t(depth)) {}
  std::vector<std::int64_t> hits;    // queries with a hit at this rank
  std::vector<double> recall;        // each 1 / relevant items in the database
  std::vector<double> curve_recall;  // each 1 / hits within the cut

  void add(std::span<const std::uint64_t> ranking, std::int64_t relevant, std::int64_t hits_in_cut,
           std::int64_t cut) {
    for (std::size_t w = 0; w < ranking.size(); ++w) {
      for (std::uint64_t word = ranking[w]; word != 0; word &= word - 1) {
        const std::size_t rank = w * 64 + std::size_t(std::countr_zero(word));
        ++hits[rank];
        recall[rank] += 1 / double(relevant);
        if (std::int64_t(rank) < cut) curve_recall[rank] += 1 / double(hits_in_cut);
      }
    }
  }
};

/// Sums over queries at one radius, as divided at the end.
struct RadiusSums {
  std::int64_t retrieved = 0, relevant = 0, answered = 0;
  double precision = 0, recall = 0;
};

struct QueryAtRadius {
  double precision = 0, recall = 0;
};

void add_radii(const DistanceCounts& counts, std::int64_t all_relevant, int radius,
               std::vector<RadiusSums>& sums, QueryAtRadius& within) {
  std::int64_t retrieved = 0, relevant = 0;
  for (std::size_t r = 0; r < sums.size(); ++r) {
    retrieved += counts.retrieved[r];
    relevant += counts.relevant[r];
    QueryAtRadius here;
    if (retrieved > 0) here.precision = double(relevant) / double(retrieved);
    if (all_relevant > 0) here.recall = double(relevant) / double(all_relevant);
    sums[r].retrieved += retrieved;
    sums[r].relevant += relevant;
    sums[r].answered += retrieved > 0;
    sums[r].precision += here.precision;
    sums[r].recall += here.recall;
    if (int(r) <= radius) within = here;
  }
}

AtRadius finish(const RadiusSums& sums, int radius, double queries) {
  return {
      .radius = radius,
      .retrieved = sums.retrieved,
      .relevant = sums.relevant,
      .precision = sums.precision / queries,
      .precision_answered = sums.answered > 0 ? sums.precision / double(sums.answered) : 0,
      .precision_pooled = sums.retrieved > 0 ? double(sums.relevant) / double(sums.retrieved) : 0,
      .recall = sums.recall / queries,
      .answered = sums.answered};
}

std::vector<AtRank> at_ranks(const RankSums& sums, const std::vector<std::int64_t>& ks,
                             double queries) {
  std::vector<AtRank> result;
  for (const std::int64_t k : ks) {
    const auto end = std::ptrdiff_t(k);
    const auto hits = std::accumulate(sums.hits.begin(), sums.hits.begin() + end, std::int64_t{0});
    const double recall = std::accumulate(sums.recall.begin(), sums.recall.begin() + end, 0.0);
    result.push_back({k, double(hits) / double(k) / queries, recall / queries});
  }
  return result;
}

/// Precision counts every query with a hit, and no others have any hits to add.
RankCurve rank_curve(const RankSums& sums, std::int64_t cut, std::int64_t queries) {
  RankCurve curve{.queries = queries};
  if (queries == 0) return curve;
  std::int64_t hits = 0;
  double recall = 0;
  for (std::int64_t k = 1; k <= cut; ++k) {
    hits += sums.hits[std::size_t(k - 1)];
    recall += sums.curve_recall[std::size_t(k - 1)];
    curve.precision.push_back(double(hits) / double(k) / double(queries));
    curve.recall.push_back(recall / double(queries));
  }
  return curve;
}

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / double(values.size());
}

std::vector<ClassRow> class_rows(const LabelsView& queries, const LabelsView& database,
                                 const Evaluation& e, const std::vector<QueryAtRadius>& within) {
  std::vector<ClassRow> rows;
  for (int c = 0; c < queries.classes; ++c) {
    ClassRow row{.label = c};
    for (std::int64_t q = 0; q < queries.count; ++q) {
      if (!queries.has(q, c)) continue;
      ++row.queries;
      for (const TieRule rule : kTieRules)
        row.map[rule] += e.average_precision[rule][std::size_t(q)];
      row.precision_within_radius += within[std::size_t(q)].precision;
      row.recall_within_radius += within[std::size_t(q)].recall;
    }
    for (std::int64_t i = 0; i < database.count; ++i) row.database += database.has(i, c);
    const double n = double(std::max<std::int64_t>(row.queries, 1));
    for (const TieRule rule : kTieRules) row.map[rule] /= n;
    row.precision_within_radius /= n;
    row.recall_within_radius /= n;
    rows.push_back(row);
  }
  return rows;
}

}  // namespace

std::string to_string(TieRule rule) {
  constexpr const char* kNames[] = {"stable", "expected", "best", "worst"};
  return kNames[std::size_t(rule)];
}

Evaluation evaluate(const LabelledCodes& queries, const LabelledCodes& database,
                    const EvaluationOptions& options) {
  check(queries, database, options);
  Evaluation e{.queries = queries.codes.count,
               .database = database.codes.count,
               .bits = database.codes.bits};
  const std::int64_t n = e.database;
  e.top_k = options.top_k == 0 ? n : options.top_k == -1 ? n - 1 : std::min(options.top_k, n);
  std::vector<std::int64_t> ks;
  std::int64_t depth = e.top_k;
  for (const std::int64_t k : options.ks) {
    HH_REQUIRE(k >= 1, "precision at k = " << k << ": ranks start at 1");
    if (k > n) continue;
    ks.push_back(k);
    depth = std::max(depth, k);
  }
  // With one item and top_k = -1 no rank counts; the kernel wants at least one.
  const Ranker ranker(queries, database, std::max<std::int64_t>(e.top_k, 1), depth, options.device);
  for (const TieRule rule : kTieRules) e.average_precision[rule].resize(std::size_t(e.queries));
  RankSums ranks(depth);
  std::vector<RadiusSums> radii(std::size_t(e.bits) + 1);
  std::vector<QueryAtRadius> within(std::size_t(e.queries));
  for (std::int64_t begin = 0; begin < e.queries; begin += kBatch) {
    const RankedBatch batch = ranker.rank(begin, std::min(kBatch, e.queries - begin));
    const auto counts = [&](std::int64_t q) { return batch.counts(q); };
    cpu::parallel_for(batch.count, 16, [&](std::int64_t from, std::int64_t to) {
      for (std::int64_t q = from; q < to; ++q) {
        const auto at = std::size_t(begin + q);
        e.average_precision[TieRule::kExpected][at] =
            expected_average_precision(counts(q), e.top_k);
        e.average_precision[TieRule::kBest][at] = best_average_precision(counts(q), e.top_k);
        e.average_precision[TieRule::kWorst][at] = worst_average_precision(counts(q), e.top_k);
      }
    });
    for (std::int64_t q = 0; q < batch.count; ++q) {
      const auto at = std::size_t(begin + q);
      const auto relevant = counts(q).relevant;
      const auto all = std::accumulate(relevant.begin(), relevant.end(), std::int64_t{0});
      const std::int64_t hits = e.top_k == 0 ? 0 : batch.hits[std::size_t(q)];
      e.average_precision[TieRule::kStable][at] = hits == 0 ? 0 : batch.ap[std::size_t(q)];
      e.without_relevant += all == 0;
      e.without_hit += hits == 0;
      ranks.add(batch.ranking_of(q), all, hits, e.top_k);
      add_radii(counts(q), all, options.radius, radii, within[at]);
    }
  }

  const double count = double(e.queries);
  for (const TieRule rule : kTieRules) {
    const auto& values = e.average_precision[rule];
    e.map[rule] = mean(values);
    if (options.bootstrap_samples > 0) {
      e.interval[rule] =
          bootstrap_interval(values, options.bootstrap_samples, options.confidence, options.seed);
    }
  }
  e.at_rank = at_ranks(ranks, ks, count);
  e.rank_curve = rank_curve(ranks, e.top_k, e.queries - e.without_hit);
  for (std::size_t r = 0; r < radii.size(); ++r) {
    e.at_radius.push_back(finish(radii[r], int(r), count));
  }
  e.within_radius = e.at_radius[std::size_t(std::min(options.radius, e.bits))];
  e.within_radius.radius = options.radius;
  e.classes = class_rows(queries.labels, database.labels, e, within);
  return e;
}

}  // namespace hh::retrieval
