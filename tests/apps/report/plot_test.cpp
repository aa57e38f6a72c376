// SPDX-License-Identifier: Apache-2.0
#include "apps/report/plot.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

namespace hh::apps {
namespace {

using Catch::Contains;

TEST_CASE("axis ticks are round numbers inside the range", "[plot]") {
  CHECK(axis_ticks(0, 1, 5) == std::vector<double>{0, 0.2, 0.4, 0.6000000000000001, 0.8, 1});
  CHECK(axis_ticks(3, 47, 5) == std::vector<double>{10, 20, 30, 40});
  CHECK(axis_ticks(-1, 1, 4) == std::vector<double>{-1, -0.5, 0, 0.5, 1});
  CHECK(axis_ticks(2, 2, 5) == std::vector<double>{2});
}

TEST_CASE("a plot puts its points between the axes", "[plot]") {
  const std::string svg = to_svg({.title = "a < b",
                                  .x_label = "x",
                                  .y_label = "y",
                                  .series = {{.name = "one", .x = {0, 10}, .y = {0, 1}}},
                                  .y_range = {{0, 1}}});
  // 640 x 400 with margins of 64, 18, 38 and 50.
  CHECK_THAT(svg, Contains("M64.0 350.0L622.0 38.0"));
  CHECK_THAT(svg, Contains("a &lt; b"));
}

TEST_CASE("a plot breaks its line where there is no number", "[plot]") {
  const std::string svg =
      to_svg({.series = {{.name = "", .x = {1, 2, 3, 4}, .y = {1, NAN, 1, 2}}}});
  const auto path = svg.substr(svg.find("stroke=\"#0072b2\"") - 200, 200);
  CHECK(std::count(path.begin(), path.end(), 'M') >= 2);
  CHECK(svg.find("nan") == std::string::npos);
}

TEST_CASE("a legend covers nothing of the plot", "[plot]") {
  Plot plot{.title = "t", .series = {}, .y_range = {{0, 1}}};
  for (int i = 0; i < 7; ++i) {
    plot.series.push_back({.name = "a series with a long name " + std::to_string(i),
                           .x = {0, 10},
                           .y = {1, 1}});  // along the upper end
  }
  const std::string svg = to_svg(plot);
  // Seven names of 202 pixels take four lines of 558 pixels, by which the axes lie lower.
  CHECK_THAT(svg,
             Contains("viewBox=\"0 0 640 472\"") && Contains("<g transform=\"translate(0 72)\">"));
  std::size_t at = svg.find("</g>"), names = 0;
  while ((at = svg.find(">a series", at + 1)) != std::string::npos) {
    const std::string before = svg.substr(svg.rfind("y=\"", at) + 3, 3);
    CHECK(std::stoi(before) < 38 + 72 - 9);  // the upper end of the axes, less the lines' width
    ++names;
  }
  CHECK(names == 7);
  CHECK_THAT(svg, Contains("prefers-color-scheme:dark"));
}

TEST_CASE("plots without data or extent are still plots", "[plot]") {
  for (const auto& series :
       {std::vector<Series>{}, std::vector<Series>{{.name = "", .x = {1}, .y = {5}}},
        std::vector<Series>{{.name = "", .x = {0, -1}, .y = {1, 2}}}}) {
    for (const bool log : {false, true}) {
      const std::string svg = to_svg({.series = series, .log_x = log});
      CHECK_THAT(svg, Catch::EndsWith("</svg>\n"));
      CHECK(svg.find("nan") == std::string::npos);
      CHECK(svg.find("inf") == std::string::npos);
    }
  }
}

}  // namespace
}  // namespace hh::apps
