// SPDX-License-Identifier: Apache-2.0
#include "bench/support/plot.h"

#include <catch2/catch.hpp>
#include <regex>
#include <stdexcept>
#include <vector>

namespace hh::bench {
namespace {

using Catch::Contains;

Record record(const std::string& name, double flops, double us) {
  return {.name = name,
          .device = "cpu",
          .bytes = 1e6,
          .flops = flops,
          .us = {us, us, us},
          .copy_us = 50,
          .copy_gb_s = 20,
          .gemm_tflop_s = 0.2};
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

/// Whether every element that is opened is closed in order, with attributes in quotes.
bool well_formed(const std::string& xml) {
  const std::regex tag("<(/?)([a-z]+)((?: [A-Za-z:-]+='[^'<]*')*)(/?)>");
  std::vector<std::string> open;
  std::size_t tags = 0;
  for (std::sregex_iterator i(xml.begin(), xml.end(), tag), end; i != end; ++i, ++tags) {
    const std::smatch& m = *i;
    if (m[1].length() != 0) {
      if (open.empty() || open.back() != m[2]) return false;
      open.pop_back();
    } else if (m[4].length() == 0) {
      open.push_back(m[2]);
    }
  }
  return open.empty() && tags == count(xml, "<") && count(xml, "\n") > 0;
}

TEST_CASE("a roofline is well-formed and holds a point for each case that counts operations",
          "[bench]") {
  std::vector<Record> records{record("gemm <f32> & \"more\"", 1e9, 1e4), record("copy", 0, 60),
                              record("half/bf16", 1e8, 100)};
  records[2].gemm = "bf16";
  records[2].gemm_tflop_s = 2;
  const std::string svg = roofline_svg(records);
  CHECK(well_formed(svg));
  CHECK(count(svg, "<circle") == 2);
  CHECK(count(svg, "<polyline") == 2);  // a roof for f32 and one for bf16
  CHECK_THAT(svg, Contains("gemm &lt;f32&gt; &amp; &quot;more&quot;"));
  CHECK_THAT(svg, !Contains("nan") && !Contains("inf"));
  // The first lies at 1000 operations per byte and 0.1 TFLOP/s, half its roof: right of the
  // second, at 100 and 1.
  std::vector<double> x, y;
  const std::regex at("<circle cx='([0-9.]+)' cy='([0-9.]+)'");
  for (std::sregex_iterator i(svg.begin(), svg.end(), at), end; i != end; ++i) {
    x.push_back(std::stod((*i)[1]));
    y.push_back(std::stod((*i)[2]));
  }
  CHECK(x.at(0) > x.at(1));
  CHECK(y.at(0) > y.at(1));  // SVG counts from the top
}

TEST_CASE("a roofline has a colour and a name an op", "[bench]") {
  const std::vector<Record> records{record("linear_forward/f32/a", 1e9, 1e4),
                                    record("linear_backward_input/f32/a", 1e9, 2e4),
                                    record("conv2d_forward/f32/a", 1e9, 1e4)};
  const std::string svg = roofline_svg(records);
  CHECK(count(svg, ">linear</text>") == 1);
  CHECK(count(svg, ">conv2d</text>") == 1);
  CHECK(count(svg, "style='--hue:0'") == 2);    // conv2d: its point and its name
  CHECK(count(svg, "style='--hue:137'") == 3);  // linear: two points and a name
  CHECK_THAT(svg, Contains("prefers-color-scheme:dark"));
  // The two names are at one place but for a line.
  const std::regex name("<text x='([0-9.]+)' y='([0-9.]+)' class='name'");
  const std::vector<std::smatch> places(std::sregex_iterator(svg.begin(), svg.end(), name), {});
  REQUIRE(places.size() == 2);
  CHECK(std::abs(std::stod(places[0][2]) - std::stod(places[1][2])) >= 12);
}

TEST_CASE("without operations there is a table and no roofline", "[bench]") {
  const std::vector<Record> copies{record("copy", 0, 60)};
  CHECK_THROWS_AS(roofline_svg(copies), std::invalid_argument);
  const std::string html = report_html(copies);
  CHECK_THAT(html, Contains("<td>copy<td>cpu<td>60.00") && !Contains("<svg"));
}

TEST_CASE("a report needs nothing from elsewhere", "[bench]") {
  const std::vector<Record> records{record("a", 1e9, 1e4), record("b", 0, 60)};
  const std::string html = report_html(records);
  CHECK(count(html, "<tr>") == 3);
  CHECK_THAT(html, Contains("<svg") && !Contains("src=") && !Contains("href=") &&
                       !Contains("<script") && !Contains("@import"));
}

TEST_CASE("plot refuses a file that it can't write as a picture", "[bench]") {
  using Words = std::vector<std::string>;
  CHECK_THROWS_WITH(plot_command(Words{"a.jsonl", "--out", "a.png"}),
                    Contains("--out a.png: must end in .svg or .html"));
  CHECK_THROWS_WITH(plot_command(Words{"a.jsonl"}), Contains("usage"));
  CHECK_THROWS_WITH(plot_command(Words{"/nowhere.jsonl", "--out", "a.svg"}),
                    Contains("/nowhere.jsonl"));
}

}  // namespace
}  // namespace hh::bench
