// SPDX-License-Identifier: Apache-2.0
#include "apps/report/training_plots.h"

#include <algorithm>

#include "apps/report/plot.h"
#include "engine/files/file.h"

namespace hh::apps {
namespace {

Series series(const pipeline::MetricsLog& log, std::string name) {
  constexpr std::size_t kFew = 60;
  auto [epochs, values] = log.column(name);
  std::replace(name.begin(), name.end(), '_', ' ');
  const bool dots = epochs.size() <= kFew;
  return {.name = name, .x = std::move(epochs), .y = std::move(values), .dots = dots};
}

}  // namespace

void write_training_plots(const std::filesystem::path& folder, const pipeline::MetricsLog& log) {
  write_file_atomically(folder / "loss.svg", to_svg({.title = "Training loss",
                                                     .x_label = "epoch",
                                                     .y_label = "loss",
                                                     .series = {series(log, "loss")}}));
  Plot map{.title = "Mean average precision", .x_label = "epoch", .y_label = "mAP"};
  for (const char* name : {"held_out_map", "query_map"}) {
    Series one = series(log, name);
    if (!one.x.empty()) map.series.push_back(std::move(one));
  }
  if (map.series.size() == 1) map.y_label = map.series[0].name;
  if (!map.series.empty()) write_file_atomically(folder / "map.svg", to_svg(map));
}

}  // namespace hh::apps
