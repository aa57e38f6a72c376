// SPDX-License-Identifier: Apache-2.0
#include "apps/report/evaluation.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/files/file.h"

namespace hh::apps {
namespace {

using retrieval::kTieRules;
using retrieval::TieRule;

std::string top_k_text(const retrieval::Evaluation& e) {
  return e.top_k >= e.database ? "all" : std::to_string(e.top_k);
}

nlohmann::ordered_json radius_json(const retrieval::AtRadius& r) {
  return {{"radius", r.radius},
          {"retrieved", r.retrieved},
          {"relevant", r.relevant},
          {"precision", r.precision},
          {"precision_answered", r.precision_answered},
          {"precision_pooled", r.precision_pooled},
          {"recall", r.recall},
          {"queries_answered", r.answered}};
}

nlohmann::ordered_json by_rule(const retrieval::ByTieRule<double>& values) {
  nlohmann::ordered_json json;
  for (const TieRule rule : kTieRules) json[to_string(rule)] = values[rule];
  return json;
}

}  // namespace

std::string EvaluationReport::class_name(int label) const {
  return std::size_t(label) < class_names.size() ? class_names[std::size_t(label)]
                                                 : std::to_string(label);
}

EvaluationReport evaluate_codes(const retrieval::CodeSet& queries,
                                const retrieval::CodeSet& database,
                                const retrieval::EvaluationOptions& options) {
  HH_REQUIRE(queries.model_hash.empty() || database.model_hash.empty() ||
                 queries.model_hash == database.model_hash,
             "the queries are codes of model " << queries.model_hash << ", the database of "
                                               << database.model_hash
                                               << ": encode both with one model");
  HH_REQUIRE(
      queries.classes > 0 && database.classes > 0,
      "evaluation needs labels: " << (queries.classes > 0 ? "the database's" : "the queries'")
                                  << " codes have none");
  EvaluationReport report{.queries = queries.source,
                          .database = database.source,
                          .model_hash = database.model_hash,
                          .confidence = options.confidence,
                          .class_names = database.class_names};
  report.evaluation =
      retrieval::evaluate(retrieval::labelled(queries), retrieval::labelled(database), options);
  report.statistics = retrieval::code_statistics(database.codes);
  return report;
}

std::string to_text(const EvaluationReport& report) {
  const retrieval::Evaluation& e = report.evaluation;
  const retrieval::CodeStatistics& s = report.statistics;
  std::string text =
      fmt::format("{} queries, {} database items, {} bits\n", e.queries, e.database, e.bits);
  for (const TieRule rule : kTieRules) {
    text += fmt::format("mAP@{:<6} ties {:<9} {:.4f}", top_k_text(e), to_string(rule), e.map[rule]);
    const retrieval::Interval& interval = e.interval[rule];
    if (interval.high > interval.low) {
      text += fmt::format("  ({:.0f} % interval {:.4f} to {:.4f})", 100 * report.confidence,
                          interval.low, interval.high);
    }
    text += "\n";
  }
  for (const retrieval::AtRank& at : e.at_rank) {
    text +=
        fmt::format("k = {:<6}  precision {:.4f}  recall {:.4f}\n", at.k, at.precision, at.recall);
  }
  const retrieval::AtRadius& r = e.within_radius;
  text += fmt::format(
      "within radius {}: precision {:.4f} (queries that find nothing count 0; {} of {} find some), "
      "recall {:.4f}\n",
      r.radius, r.precision, r.answered, e.queries, r.recall);
  text += fmt::format(
      "codes: {} distinct of {}, largest group {}; bit imbalance {:.3f}, entropy {:.3f}, "
      "|correlation| "
      "{:.3f}\n",
      s.distinct, s.count, s.largest_group, s.mean_imbalance, s.mean_entropy,
      s.mean_abs_correlation);
  if (e.without_relevant > 0) {
    text += fmt::format("{} queries have nothing relevant in the database\n", e.without_relevant);
  }
  return text;
}

nlohmann::ordered_json to_json(const EvaluationReport& report) {
  const retrieval::Evaluation& e = report.evaluation;
  const retrieval::CodeStatistics& s = report.statistics;
  nlohmann::ordered_json json{{"queries", e.queries},
                              {"database", e.database},
                              {"bits", e.bits},
                              {"top_k", e.top_k},
                              {"query_source", report.queries},
                              {"database_source", report.database},
                              {"model_hash", report.model_hash},
                              {"map", by_rule(e.map)}};
  json["confidence"] = report.confidence;
  for (const TieRule rule : kTieRules) {
    json["map_interval"][to_string(rule)] = {e.interval[rule].low, e.interval[rule].high};
  }
  json["queries_without_relevant"] = e.without_relevant;
  json["queries_without_hit"] = e.without_hit;
  for (const retrieval::AtRank& at : e.at_rank) {
    json["at_rank"].push_back({{"k", at.k}, {"precision", at.precision}, {"recall", at.recall}});
  }
  json["within_radius"] = radius_json(e.within_radius);
  for (const retrieval::AtRadius& at : e.at_radius) json["by_radius"].push_back(radius_json(at));
  for (const retrieval::ClassRow& row : e.classes) {
    json["classes"].push_back({{"label", row.label},
                               {"name", report.class_name(row.label)},
                               {"queries", row.queries},
                               {"database", row.database},
                               {"map", by_rule(row.map)},
                               {"precision_within_radius", row.precision_within_radius},
                               {"recall_within_radius", row.recall_within_radius}});
  }
  json["codes"] = {{"distinct", s.distinct},
                   {"colliding", s.colliding},
                   {"largest_group", s.largest_group},
                   {"mean_imbalance", s.mean_imbalance},
                   {"mean_entropy", s.mean_entropy},
                   {"mean_abs_correlation", s.mean_abs_correlation},
                   {"ones", s.ones}};
  return json;
}

std::vector<std::pair<std::string, Plot>> plots_of(const EvaluationReport& report) {
  const retrieval::Evaluation& e = report.evaluation;
  constexpr std::pair<double, double> kUnit{0, 1};
  std::vector<std::pair<std::string, Plot>> plots;
  plots.emplace_back("precision_recall",
                     Plot{.title = "Precision over recall",
                          .x_label = "recall",
                          .y_label = "precision",
                          .series = {{.x = e.rank_curve.recall, .y = e.rank_curve.precision}},
                          .x_range = kUnit,
                          .y_range = kUnit});
  Series precision{.name = "precision", .dots = true}, recall{.name = "recall", .dots = true};
  for (const retrieval::AtRank& at : e.at_rank) {
    precision.x.push_back(double(at.k));
    precision.y.push_back(at.precision);
    recall.y.push_back(at.recall);
  }
  recall.x = precision.x;
  plots.emplace_back("precision_at_k", Plot{.title = "Precision of the first k",
                                            .x_label = "k",
                                            .y_label = "precision",
                                            .series = {precision},
                                            .y_range = kUnit,
                                            .log_x = true});
  plots.emplace_back("recall_at_k", Plot{.title = "Recall of the first k",
                                         .x_label = "k",
                                         .y_label = "recall",
                                         .series = {recall},
                                         .y_range = kUnit,
                                         .log_x = true});
  Series mean{.name = "precision"}, pooled{.name = "precision, pairs pooled"},
      found{.name = "recall"}, answered{.name = "share of queries answered"};
  for (const retrieval::AtRadius& at : e.at_radius) {
    for (Series* s : {&mean, &pooled, &found, &answered}) s->x.push_back(at.radius);
    mean.y.push_back(at.precision);
    pooled.y.push_back(at.precision_pooled);
    found.y.push_back(at.recall);
    answered.y.push_back(double(at.answered) / double(e.queries));
  }
  plots.emplace_back("radius", Plot{.title = "Everything within a Hamming radius",
                                    .x_label = "radius",
                                    .y_label = "share",
                                    .series = {mean, pooled, found, answered},
                                    .y_range = kUnit});
  Series ones{.name = "ones", .dots = true, .line = false};
  for (std::size_t j = 0; j < report.statistics.ones.size(); ++j) {
    ones.x.push_back(double(j));
    ones.y.push_back(report.statistics.ones[j]);
  }
  plots.emplace_back("bits", Plot{.title = "Balance of the bits",
                                  .x_label = "bit",
                                  .y_label = "share of ones",
                                  .series = {ones},
                                  .y_range = kUnit});
  return plots;
}

void write_report(const std::filesystem::path& folder, const EvaluationReport& report) {
  std::filesystem::create_directories(folder);
  write_file_atomically(folder / "eval.json", to_json(report).dump(1) + "\n");
  for (const auto& [stem, plot] : plots_of(report)) {
    write_file_atomically(folder / (stem + ".svg"), to_svg(plot));
  }
  write_file_atomically(folder / "report.html", to_html(report));
}

}  // namespace hh::apps
