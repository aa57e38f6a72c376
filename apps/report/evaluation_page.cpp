// SPDX-License-Identifier: Apache-2.0
// The folder of an evaluation, and its HTML page: no scripts, and nothing loaded from elsewhere.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/report/evaluation.h"
#include "apps/report/provenance.h"
#include "engine/files/file.h"
#include "engine/text/counted.h"
#include "engine/text/json_text.h"
#include "engine/text/xml.h"

namespace hh::apps {
namespace {

using retrieval::TieRule;

constexpr const char* kStyle =
    ":root{color-scheme:light dark;--ground:#f6f7f9;--text:#1c2128;--dim:#5b6470;--line:#d9dee5}"
    "@media(prefers-color-scheme:dark){:root{--ground:#12151a;--text:#e6e9ee;--dim:#9aa4b2;"
    "--line:#323a45}}"
    "body{font:15px/1.45 system-ui,-apple-system,\"Segoe UI\",Roboto,Helvetica,Arial,sans-serif;"
    "background:var(--ground);color:var(--text);max-width:1340px;margin:24px auto;padding:0 16px}"
    "h1{font-size:1.55rem}h2{font-size:1.15rem;margin-top:32px}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums;display:block;overflow-x:"
    "auto}"
    "th,td{padding:3px 14px 3px 0;text-align:right;border-bottom:1px solid var(--line)}"
    "th:first-child,td:first-child{text-align:left}"
    ".plots{display:grid;gap:16px;grid-template-columns:"
    "repeat(auto-fit,minmax(min(100%,520px),1fr))}.plots svg{max-width:100%;height:auto;border:1px "
    "solid var(--line)}.big{font-size:34px;font-weight:bold}"
    ".note,details{color:var(--dim);overflow-wrap:anywhere}pre{white-space:pre-wrap}";

std::string row(const std::vector<std::string>& cells, const char* tag = "td") {
  std::string html = "<tr>";
  for (const std::string& cell : cells) html += fmt::format("<{0}>{1}</{0}>", tag, cell);
  return html + "</tr>\n";
}

std::string number(double v) { return fmt::format("{:.4f}", v); }

std::string map_table(const EvaluationReport& report) {
  const retrieval::Evaluation& e = report.evaluation;
  std::string html =
      "<table>\n" +
      row({"ties", "mAP", fmt::format("{:.0f} % interval", 100 * report.confidence)}, "th");
  const auto meaning = [](TieRule rule) {
    switch (rule) {
      case TieRule::kStable:
        return "stable: by database order";
      case TieRule::kExpected:
        return "expected: mean over all orders";
      case TieRule::kBest:
        return "best: relevant items first";
      case TieRule::kWorst:
        return "worst: relevant items last";
    }
    return "";
  };
  for (const TieRule rule : retrieval::kTieRules) {
    const retrieval::Interval& interval = e.interval[rule];
    html += row({meaning(rule), number(e.map[rule]),
                 interval.high > interval.low
                     ? fmt::format("{:.4f} to {:.4f}", interval.low, interval.high)
                     : "–"});
  }
  return html + "</table>\n";
}

std::string rank_table(const retrieval::Evaluation& e) {
  std::string html = "<table>\n" + row({"k", "precision", "recall"}, "th");
  for (const retrieval::AtRank& at : e.at_rank) {
    html += row({std::to_string(at.k), number(at.precision), number(at.recall)});
  }
  return html + "</table>\n";
}

std::string class_table(const EvaluationReport& report) {
  const retrieval::Evaluation& e = report.evaluation;
  const int radius = e.within_radius.radius;
  std::string html =
      "<table>\n" +
      row({"class", "queries", "database", "mAP, stable", "mAP, expected",
           fmt::format("precision, radius {}", radius), fmt::format("recall, radius {}", radius)},
          "th");
  for (const retrieval::ClassRow& c : e.classes) {
    html += row({escape_xml(report.class_name(c.label)), std::to_string(c.queries),
                 std::to_string(c.database), c.queries ? number(c.map[TieRule::kStable]) : "–",
                 c.queries ? number(c.map[TieRule::kExpected]) : "–",
                 c.queries ? number(c.precision_within_radius) : "–",
                 c.queries ? number(c.recall_within_radius) : "–"});
  }
  return html + "</table>\n";
}

std::string code_table(const EvaluationReport& report) {
  const retrieval::CodeStatistics& s = report.statistics;
  const retrieval::AtRadius& r = report.evaluation.within_radius;
  return "<table>\n" +
         row({fmt::format("precision within radius {} (nothing found counts 0)", r.radius),
              number(r.precision)}) +
         row({fmt::format("recall within radius {}", r.radius), number(r.recall)}) +
         row({fmt::format("queries that find something within radius {}", r.radius),
              std::to_string(r.answered)}) +
         row({"distinct codes", fmt::format("{} of {}", s.distinct, s.count)}) +
         row({"items of the commonest code", std::to_string(s.largest_group)}) +
         row({"bit imbalance (0 balanced, 1 constant)", number(s.mean_imbalance)}) +
         row({"entropy of a bit", number(s.mean_entropy)}) +
         row({"|correlation| of two bits", number(s.mean_abs_correlation)}) + "</table>\n";
}

}  // namespace

std::string to_html(const EvaluationReport& report, const std::string& made,
                    const std::string& recipe) {
  const retrieval::Evaluation& e = report.evaluation;
  const retrieval::Interval& interval = e.interval[TieRule::kStable];
  const std::string cut = e.top_k >= e.database ? "all" : std::to_string(e.top_k);
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width\">\n<title>HybridHash "
      "evaluation</title>\n<style>{}</style></head>\n"
      "<body>\n<h1>HybridHash evaluation</h1>\n",
      kStyle);
  html += fmt::format("<p>{} against {}, {}</p>\n", counted(e.queries, "query", "queries"),
                      counted(e.database, "database item"), counted(e.bits, "bit"));
  if (!report.note.empty()) html += "<p>Note: " + escape_xml(report.note) + ".</p>\n";
  html += fmt::format(
      "<p><span class=\"big\">mAP@{} {:.4f}</span>{}</p>\n", cut, e.map[TieRule::kStable],
      interval.high > interval.low
          ? fmt::format(" &nbsp; {:.0f} % interval {:.4f} to {:.4f}, by resampling queries",
                        100 * report.confidence, interval.low, interval.high)
          : "");
  html += "<h2>Mean average precision</h2>\n" + map_table(report);
  html += fmt::format(
      "<p class=\"note\">Average precision is divided by the relevant items found inside the cut; "
      "{} none there and {} 0, {} none in the whole database.</p>\n",
      counted(e.without_hit, "query finds", "queries find"),
      e.without_hit == 1 ? "counts" : "count", counted(e.without_relevant, "has", "have"));
  html += "<h2>Plots</h2>\n<div class=\"plots\">\n";
  for (const auto& [stem, plot] : plots_of(report)) html += to_svg(plot);
  html += "</div>\n<h2>First k</h2>\n" + rank_table(e);
  html += "<h2>Radius and codes</h2>\n" + code_table(report);
  if (!e.classes.empty()) html += "<h2>Classes</h2>\n" + class_table(report);
  html += fmt::format("<p class=\"note\">queries: {}<br>database: {}<br>model: {}<br>{}</p>\n",
                      escape_xml(report.queries), escape_xml(report.database),
                      report.model_hash.empty() ? "unknown" : escape_xml(report.model_hash),
                      escape_xml(made));
  if (!recipe.empty()) {
    html += "<details><summary>recipe of the model</summary><pre>" + escape_xml(recipe) +
            "</pre></details>\n";
  }
  return html + "</body>\n</html>\n";
}

void write_report(const std::filesystem::path& folder, const EvaluationReport& report,
                  const std::string& recipe) {
  std::filesystem::create_directories(folder);
  write_file_atomically(folder / "eval.json", json_text(to_json(report), 1) + "\n");
  for (const auto& [stem, plot] : plots_of(report)) {
    write_file_atomically(folder / (stem + ".svg"), to_svg(plot));
  }
  write_file_atomically(folder / "report.html", to_html(report, made_by(), recipe));
}

}  // namespace hh::apps
