// SPDX-License-Identifier: Apache-2.0
#include "apps/report/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "engine/text/xml.h"

namespace hh::apps {
namespace {

// Okabe and Ito's colours, which people with any colour vision can tell apart; black is the text's.
constexpr std::array<const char*, 7> kColours{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                              "#e69f00", "#56b4e9", "#6b6b6b"};
// Light and dark, alone as in a page.
constexpr const char* kThemes =
    ".plot{color-scheme:light dark;fill:#222}.plot .ground{fill:#fff}.plot .grid{stroke:#e4e4e4}"
    ".plot .axis{fill:none;stroke:#444}@media(prefers-color-scheme:dark){.plot{fill:#e6e9ee}"
    ".plot .ground{fill:#12151a}.plot .grid{stroke:#323a45}.plot .axis{stroke:#9aa4b2}}";
constexpr int kLeft = 64, kRight = 18, kTop = 38, kBottom = 50;  // margins around the axes, px
constexpr std::size_t kMaxPoints = 1500;  // of a line: more than two a pixel can't be seen

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void see(double v) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
};

/// One axis: from values to pixels.
class Axis {
 public:
  Axis(Range range, bool log, int begin, int end) : log_(log), begin_(begin), end_(end) {
    if (!(range.low <= range.high)) range = {log ? 1.0 : 0.0, log ? 10.0 : 1.0};  // no data
    low_ = scaled(range.low);
    high_ = scaled(range.high);
    if (high_ - low_ < 1e-12 * std::max(1.0, std::abs(high_))) {
      const double room = log ? 0.5 : std::max(std::abs(high_) * 0.1, 1e-6);
      low_ -= room;
      high_ += room;
    }
  }

  double pixel(double v) const {
    return begin_ + (scaled(v) - low_) / (high_ - low_) * double(end_ - begin_);
  }

  std::vector<double> ticks(int count) const {
    if (!log_) return axis_ticks(low_, high_, count);
    std::vector<double> ticks;
    for (double e = std::ceil(low_ - 1e-9); e <= high_ + 1e-9; ++e)
      ticks.push_back(std::pow(10, e));
    return ticks;
  }

 private:
  double scaled(double v) const { return log_ ? std::log10(v) : v; }
  bool log_;
  double low_ = 0, high_ = 1;
  int begin_, end_;
};

std::string number(double v) {
  if (std::abs(v) < 1e-12) return "0";
  if (std::abs(v) >= 1e6) {
    const double millions = v / 1e6;
    return fmt::format("{:g}M", millions);
  }
  if (std::abs(v) >= 1e4) return fmt::format("{:g}k", v / 1e3);
  return fmt::format("{:g}", v);
}

Axis axis_of(const Plot& plot, bool horizontal) {
  const auto& fixed = horizontal ? plot.x_range : plot.y_range;
  const bool log = horizontal && plot.log_x;
  Range range;
  if (fixed) {
    range = {fixed->first, fixed->second};
  } else {
    for (const Series& s : plot.series) {
      for (std::size_t i = 0; i < std::min(s.x.size(), s.y.size()); ++i) {
        const bool drawn =
            std::isfinite(s.x[i]) && std::isfinite(s.y[i]) && (!plot.log_x || s.x[i] > 0);
        if (drawn) range.see(horizontal ? s.x[i] : s.y[i]);
      }
    }
    if (!horizontal && range.low <= range.high) {
      // The lines keep off the frame.
      const double room = 0.05 * (range.high - range.low);
      range = {range.low >= 0 && range.low < room ? 0 : range.low - room, range.high + room};
    }
  }
  return horizontal ? Axis(range, log, kLeft, plot.width - kRight)
                    : Axis(range, log, plot.height - kBottom, kTop);
}

std::string line_of(const Plot& plot, const Series& series, const char* colour, const Axis& x,
                    const Axis& y) {
  std::string path, dots;
  bool pen_down = false;
  const std::size_t count = std::min(series.x.size(), series.y.size());
  const std::size_t step = std::max<std::size_t>(1, (count + kMaxPoints - 1) / kMaxPoints);
  std::vector<std::size_t> points;
  for (std::size_t i = 0; i < count; i += step) points.push_back(i);
  if (count > 0 && points.back() != count - 1) points.push_back(count - 1);
  for (const std::size_t i : points) {
    const bool drawn = std::isfinite(series.x[i]) && std::isfinite(series.y[i]) &&
                       (!plot.log_x || series.x[i] > 0);
    if (drawn) {
      const double px = x.pixel(series.x[i]), py = y.pixel(series.y[i]);
      path += fmt::format("{}{:.1f} {:.1f}", pen_down ? "L" : "M", px, py);
      if (series.dots) {
        dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.6\" fill=\"{}\"/>\n", px, py,
                            colour);
      }
    }
    pen_down = drawn;
  }
  if (!series.line) return dots;
  return fmt::format(
             "<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\" "
             "stroke-linejoin=\"round\"/>\n",
             path, colour) +
         dots;
}

std::string grid_of(const Plot& plot, const Axis& x, const Axis& y) {
  const int right = plot.width - kRight, bottom = plot.height - kBottom;
  std::string svg;
  for (const double t : x.ticks(8)) {
    const double p = x.pixel(t);
    if (p < kLeft - 0.5 || p > right + 0.5) continue;
    svg += fmt::format(
        "<path d=\"M{0:.1f} {1}V{2}\" class=\"grid\"/>"
        "<text x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4}</text>\n",
        p, kTop, bottom, bottom + 17, number(t));
  }
  for (const double t : y.ticks(6)) {
    const double p = y.pixel(t);
    if (p < kTop - 0.5 || p > bottom + 0.5) continue;
    svg += fmt::format(
        "<path d=\"M{1} {0:.1f}H{2}\" class=\"grid\"/>"
        "<text x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5}</text>\n",
        p, kLeft, right, kLeft - 7, p + 4, number(t));
  }
  return svg +
         fmt::format("<path d=\"M{} {}V{}H{}\" class=\"axis\"/>\n", kLeft, kTop, bottom, right);
}

/// Lines of the legend between the title and the axes, where they cover nothing.
struct Legend {
  std::string svg;
  int height = 0;
};

Legend legend_of(const Plot& plot) {
  if (plot.series.size() < 2) return {};
  constexpr double kLetter = 6.6, kMark = 24, kGap = 18;
  constexpr int kLine = 18;
  Legend legend{.height = kLine};
  double left = kLeft;
  for (std::size_t i = 0; i < plot.series.size(); ++i) {
    const std::string& name = plot.series[i].name;
    const double width = kMark + kLetter * double(name.size());
    if (left > kLeft && left + width > plot.width - kRight) {
      left = kLeft;
      legend.height += kLine;
    }
    const int middle = kTop + legend.height - kLine;
    legend.svg += fmt::format(
        "<path d=\"M{:.1f} {}h18\" stroke=\"{}\" stroke-width=\"2.4\"/>"
        "<text x=\"{:.1f}\" y=\"{}\">{}</text>\n",
        left, middle, kColours[i % kColours.size()], left + kMark, middle + 4, escape_xml(name));
    left += width + kGap;
  }
  return legend;
}

}  // namespace

std::vector<double> axis_ticks(double low, double high, int count) {
  if (!(high > low) || count < 1) return {low};
  const double raw = (high - low) / count, power = std::pow(10, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (raw <= factor * power * (1 + 1e-9)) {
      step = factor * power;
      break;
    }
  }
  std::vector<double> ticks;
  const double first = std::ceil(low / step - 1e-9);
  for (double i = first; i * step <= high + 1e-9 * step; ++i) ticks.push_back(i * step);
  return ticks;
}

std::string to_svg(const Plot& plot) {
  const Axis x = axis_of(plot, true), y = axis_of(plot, false);
  const Legend legend = legend_of(plot);
  // The axes and all that is in them lie below the legend.
  const int height = plot.height + legend.height;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
      "height=\"{1}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\" "
      "class=\"plot\">\n<style>{2}</style>\n<rect width=\"{0}\" height=\"{1}\" "
      "class=\"ground\"/>\n",
      plot.width, height, kThemes);
  svg += fmt::format("<g transform=\"translate(0 {})\">\n", legend.height) + grid_of(plot, x, y);
  for (std::size_t i = 0; i < plot.series.size(); ++i) {
    svg += line_of(plot, plot.series[i], kColours[i % kColours.size()], x, y);
  }
  svg += "</g>\n";
  const int middle_x = (kLeft + plot.width - kRight) / 2;
  const int middle_y = legend.height + (kTop + plot.height - kBottom) / 2;
  svg += fmt::format("<text x=\"{}\" y=\"22\" text-anchor=\"middle\" font-size=\"14\">{}</text>\n",
                     middle_x, escape_xml(plot.title));
  svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", middle_x,
                     height - 12, escape_xml(plot.x_label));
  svg += fmt::format(
      "<text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
      middle_y, escape_xml(plot.y_label));
  return svg + legend.svg + "</svg>\n";
}

}  // namespace hh::apps
