// SPDX-License-Identifier: Apache-2.0
#include "pipeline/evaluation.h"

#include "kernels/core/check.h"
#include "retrieval/codes/class_names.h"

namespace hh::pipeline {

std::string EvaluationReport::class_name(int label) const {
  return std::size_t(label) < class_names.size() ? class_names[std::size_t(label)]
                                                 : std::to_string(label);
}

EvaluationReport evaluate_codes(const retrieval::CodeSet& queries,
                                const retrieval::CodeSet& database,
                                const retrieval::EvaluationOptions& options,
                                retrieval::Int8Codes int8) {
  HH_REQUIRE(retrieval::same_model(queries.model_hash, database.model_hash, int8),
             "the queries are codes of model "
                 << queries.model_hash << ", the database of " << database.model_hash << ": "
                 << retrieval::how_to_meet(queries.model_hash, database.model_hash));
  HH_REQUIRE(
      queries.classes > 0 && database.classes > 0,
      "evaluation needs labels: " << (queries.classes > 0 ? "the database's" : "the queries'")
                                  << " codes have none");
  retrieval::JoinedClasses joined = retrieval::join_classes(queries, database);
  EvaluationReport report{.queries = queries.source,
                          .database = database.source,
                          .model_hash = database.model_hash,
                          .confidence = options.confidence,
                          .class_names = joined.names,
                          .queries_only = std::move(joined.queries_only),
                          .database_only = std::move(joined.database_only),
                          .note = std::move(joined.note),
                          .evaluation = {},
                          .statistics = {}};
  const auto labels = [&](const std::vector<std::uint64_t>& words, const auto& set) {
    return retrieval::LabelsView{words.data(), set.count(), joined.classes};
  };
  report.evaluation =
      retrieval::evaluate({queries.codes, labels(joined.queries, queries)},
                          {database.codes, labels(joined.database, database)}, options);
  report.statistics = retrieval::code_statistics(database.codes);
  return report;
}

}  // namespace hh::pipeline
