// SPDX-License-Identifier: Apache-2.0
// How good codes are: those of queries against those of a database.
#pragma once
#include <string>
#include <vector>

#include "retrieval/codes/code_file.h"
#include "retrieval/codes/code_statistics.h"
#include "retrieval/codes/model_hash.h"
#include "retrieval/metrics/metrics.h"

namespace hh::pipeline {

/// Everything that `hybridhash eval` reports.
struct EvaluationReport {
  std::string queries, database;  // where the codes come from, in words
  std::string model_hash;         // may be empty
  double confidence = 0.95;
  std::vector<std::string> class_names;                  // may be empty
  std::vector<std::string> queries_only, database_only;  // classes without a counterpart
  std::string note;                                      // on the classes; may be empty
  retrieval::Evaluation evaluation;
  retrieval::CodeStatistics statistics;  // of the database's codes

  /// Its number, where classes have no names.
  std::string class_name(int label) const;
};

/// Classes are matched by name where both sides name them (retrieval/codes/class_names.h).
/// Throws std::invalid_argument: codes of different models or widths, no labels, no class shared.
EvaluationReport evaluate_codes(const retrieval::CodeSet& queries,
                                const retrieval::CodeSet& database,
                                const retrieval::EvaluationOptions& options,
                                retrieval::Int8Codes int8 = retrieval::Int8Codes::kApart);

}  // namespace hh::pipeline
