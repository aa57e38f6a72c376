// SPDX-License-Identifier: Apache-2.0
// An evaluation of codes as text, JSON, plots, and a page that shows them.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "apps/report/plot.h"
#include "pipeline/evaluation.h"

namespace hh::apps {

using pipeline::EvaluationReport;

/// A table of the main figures, for people.
std::string to_text(const EvaluationReport& report);
/// All of it but single queries' average precisions.
nlohmann::ordered_json to_json(const EvaluationReport& report);

/// Plots by the stem of their file: precision_recall, precision_at_k, recall_at_k, radius, bits.
std::vector<std::pair<std::string, Plot>> plots_of(const EvaluationReport& report);
/// One self-contained HTML page. For its foot: `made`, when and where; `recipe`, what trained the
/// model (TOML; empty: it isn't known).
std::string to_html(const EvaluationReport& report, const std::string& made = "",
                    const std::string& recipe = "");

/// eval.json, the plots as SVG, and report.html in `folder`, which is made.
void write_report(const std::filesystem::path& folder, const EvaluationReport& report,
                  const std::string& recipe = "");

}  // namespace hh::apps
