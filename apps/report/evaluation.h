// SPDX-License-Identifier: Apache-2.0
// Codes of queries against codes of a database: numbers, plots, and a page that shows both.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "apps/report/plot.h"
#include "retrieval/codes/code_file.h"
#include "retrieval/codes/code_statistics.h"
#include "retrieval/metrics/metrics.h"

namespace hh::apps {

/// Everything that `hybridhash eval` reports.
struct EvaluationReport {
  std::string queries, database;  // where the codes come from, in words
  std::string model_hash;         // may be empty
  double confidence = 0.95;
  std::vector<std::string> class_names;  // may be empty
  retrieval::Evaluation evaluation;
  retrieval::CodeStatistics statistics;  // of the database's codes

  std::string class_name(int label) const;
};

/// Throws std::invalid_argument: codes of different models or widths, no labels.
EvaluationReport evaluate_codes(const retrieval::CodeSet& queries,
                                const retrieval::CodeSet& database,
                                const retrieval::EvaluationOptions& options);

/// A table of the main figures, for people.
std::string to_text(const EvaluationReport& report);
/// All of it but single queries' average precisions.
nlohmann::ordered_json to_json(const EvaluationReport& report);

/// Plots by the stem of their file: precision_recall, precision_at_k, recall_at_k, radius, bits.
std::vector<std::pair<std::string, Plot>> plots_of(const EvaluationReport& report);
/// One self-contained HTML page.
std::string to_html(const EvaluationReport& report);

/// eval.json, the plots as SVG, and report.html in `folder`, which is made.
void write_report(const std::filesystem::path& folder, const EvaluationReport& report);

}  // namespace hh::apps
