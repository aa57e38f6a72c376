// SPDX-License-Identifier: Apache-2.0
// An evaluation as text and as JSON.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/report/evaluation.h"
#include "engine/text/counted.h"
#include "engine/text/utf8.h"

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

std::string to_text(const EvaluationReport& report) {
  const retrieval::Evaluation& e = report.evaluation;
  const retrieval::CodeStatistics& s = report.statistics;
  std::string text = fmt::format("{}, {}, {}\n", counted(e.queries, "query", "queries"),
                                 counted(e.database, "database item"), counted(e.bits, "bit"));
  if (!report.note.empty()) text += "note: " + one_line(report.note) + "\n";
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
    text += fmt::format("{} nothing relevant in the database\n",
                        counted(e.without_relevant, "query has", "queries have"));
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
  if (!report.note.empty()) {
    json["note"] = report.note;
    json["classes_of_queries_only"] = report.queries_only;
    json["classes_of_database_only"] = report.database_only;
  }
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

}  // namespace hh::apps
