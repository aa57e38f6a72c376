// SPDX-License-Identifier: Apache-2.0
#include "api/boundary.h"
#include "api/items.h"
#include "pipeline/evaluation.h"

using namespace hh::api;

hh_status hh_evaluate(const hh_codes* queries, const hh_codes* database,
                      const hh_evaluate_options* options, hh_evaluation* result) {
  return guarded([&] {
    using hh::retrieval::TieRule;
    const hh_evaluate_options o =
        options_or(options, hh_evaluate_options HH_EVALUATE_OPTIONS_INIT, "options");
    const auto report = hh::pipeline::evaluate_codes(needed(queries, "queries").items.set,
                                                     needed(database, "database").items.set,
                                                     {.top_k = o.top_k,
                                                      .radius = o.radius,
                                                      .bootstrap_samples = o.bootstrap_samples,
                                                      .confidence = o.confidence,
                                                      .seed = o.seed});
    const hh::retrieval::Evaluation& e = report.evaluation;
    give(result,
         {.size = sizeof(hh_evaluation),
          .queries = e.queries,
          .database = e.database,
          .bits = e.bits,
          .top_k = e.top_k,
          .map_stable = e.map[TieRule::kStable],
          .map_expected = e.map[TieRule::kExpected],
          .map_best = e.map[TieRule::kBest],
          .map_worst = e.map[TieRule::kWorst],
          .map_low = e.interval[TieRule::kStable].low,
          .map_high = e.interval[TieRule::kStable].high,
          .precision_within_radius = e.within_radius.precision,
          .recall_within_radius = e.within_radius.recall,
          .without_relevant = e.without_relevant},
         "result");
  });
}
