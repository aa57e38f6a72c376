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
