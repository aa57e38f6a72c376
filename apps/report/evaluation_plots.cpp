// SPDX-License-Identifier: Apache-2.0
// The plots of an evaluation.
#include "apps/report/evaluation.h"

namespace hh::apps {

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

}  // namespace hh::apps
