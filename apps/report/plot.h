// SPDX-License-Identifier: Apache-2.0
// Line plots as SVG, for reports: axes with round numbers, a light grid, a legend. No scripts, no
// outside fonts or files, so that a plot can stand alone or inside a page.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hh::apps {

struct Series {
  std::string name;  // in the legend, which appears when there are at least two
  std::vector<double> x, y;
  bool dots = false;  // mark the points, for few of them
  bool line = true;   // join them
};

struct Plot {
  std::string title, x_label, y_label;
  std::vector<Series> series;
  /// Fixed ends of an axis; otherwise they follow the data.
  std::optional<std::pair<double, double>> x_range, y_range;
  bool log_x = false;  // powers of ten; points with x <= 0 are left out
  int width = 640, height = 400;
};

/// Points that aren't finite break the line. Long series are thinned to what can be seen.
std::string to_svg(const Plot& plot);

/// Round numbers that span [low, high], about `count` of them: steps of 1, 2 or 5 times a power of
/// ten.
std::vector<double> axis_ticks(double low, double high, int count);

}  // namespace hh::apps
