// SPDX-License-Identifier: Apache-2.0
#include "bench/support/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <stdexcept>

#include "engine/files/file.h"
#include "engine/text/xml.h"

namespace hh::bench {
namespace {

constexpr const char* kLight =
    "--ground:#fff;--text:#1c2128;--dim:#5b6470;--line:#d9dee5;--bright:38%";
constexpr const char* kDark =
    "--ground:#12151a;--text:#e6e9ee;--dim:#9aa4b2;--line:#323a45;--bright:68%";

/// Both themes, of what is inside `of`.
std::string themes(const char* of) {
  return fmt::format(
      "{0}{{color-scheme:light dark;{1}}}@media(prefers-color-scheme:dark){{{0}{{{2}}}}}", of,
      kLight, kDark);
}

/// The op that a case is of, without its direction: one colour each.
std::string family_of(const Record& r) {
  const std::string name = r.name.substr(0, r.name.find('/'));
  return name.substr(0, std::min(name.find("_forward"), name.find("_backward")));
}

/// Those of a plot, with their hues in degrees.
std::map<std::string, int> families_of(std::span<const Record> records) {
  std::map<std::string, int> families;
  for (const Record& r : records) {
    if (r.flops > 0 && r.bytes > 0) families.emplace(family_of(r), 0);
  }
  // Neighbours in the alphabet are apart in hue: the golden angle.
  constexpr int kAngle = 137, kFull = 360;
  int i = 0;
  for (auto& [name, hue] : families) hue = i++ * kAngle % kFull;
  return families;
}

/// Decades [low, high] on `pixels`.
struct Axis {
  double low, high, start, pixels;
  double at(double value) const {
    return start + pixels * std::clamp((std::log10(value) - low) / (high - low), 0.0, 1.0);
  }
};

std::string roof(const Axis& x, const Axis& y, double gb_s, double tflop_s, const char* name) {
  const double ridge = tflop_s * 1e3 / gb_s, left = std::pow(10, x.low),
               right = std::pow(10, x.high);
  const double from = std::max(left, std::pow(10, y.low) * 1e3 / gb_s);
  return fmt::format(
      "<polyline points='{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}' fill='none' "
      "stroke='var(--text)' "
      "stroke-width='1.5'/><text x='{:.1f}' y='{:.1f}' text-anchor='end'>{}: {:.2f} TFLOP/s, copy "
      "{:.0f} "
      "GB/s</text>\n",
      x.at(from), y.at(from * gb_s / 1e3), x.at(ridge), y.at(tflop_s), x.at(right), y.at(tflop_s),
      x.at(right), y.at(tflop_s) - 5, name, tflop_s, gb_s);
}

/// The ops' names beside their points, moved down where they would cover each other.
std::string names_of(const std::map<std::string, const Record*>& highest,
                     const std::map<std::string, int>& families, const Axis& x, const Axis& y) {
  struct Place {
    double left, right, middle;
  };
  constexpr double kLetter = 6.6, kLine = 12, kWidth = 890;
  std::vector<Place> taken;
  std::string svg;
  for (const auto& [family, record] : highest) {
    const double width = kLetter * double(family.size());
    Place place{x.at(record->intensity()) + 7, 0, y.at(record->tflop_s()) + 4};
    if (place.left + width > kWidth) place.left -= width + 14;
    place.right = place.left + width;
    const auto covers = [&](const Place& other) {
      return place.left < other.right && other.left < place.right &&
             std::abs(place.middle - other.middle) < kLine;
    };
    while (std::any_of(taken.begin(), taken.end(), covers)) place.middle += 1;
    taken.push_back(place);
    svg += fmt::format("<text x='{:.1f}' y='{:.1f}' class='name' style='--hue:{}'>{}</text>\n",
                       place.left, place.middle, families.at(family), escape_xml(family));
  }
  return svg;
}

/// What the runs say of themselves, a line each.
std::string about_lines(std::span<const Record> records) {
  std::set<std::string> lines;
  for (const Record& r : records) {
    std::string line;
    for (const auto& [key, value] : r.about) line += (line.empty() ? "" : ", ") + key + " " + value;
    if (!line.empty()) lines.insert(line);
  }
  std::string html;
  for (const std::string& line : lines) html += "<p class='dim'>" + escape_xml(line) + "</p>\n";
  return html;
}

}  // namespace

std::string roofline_svg(std::span<const Record> records) {
  double peak = 0, least = 1e300, most = 10;
  const Record *plain = nullptr, *half = nullptr;
  for (const Record& r : records) {
    if (r.flops <= 0 || r.bytes <= 0) continue;
    (r.gemm == "bf16" ? half : plain) = &r;
    peak = std::max({peak, r.gemm_tflop_s, r.tflop_s()});
    least = std::min(least, r.tflop_s());
    most = std::max(most, r.intensity());
  }
  if (peak <= 0)
    throw std::invalid_argument("plot: no case counts operations, so there is no roofline");
  const Axis x{-1, std::ceil(std::log10(most) + 0.01), 70, 800};
  const Axis y{std::floor(std::log10(least)), std::ceil(std::log10(peak) + 0.05), 470, -430};
  std::string svg =
      "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 900 520' font-family='sans-serif' "
      "font-size='12' fill='var(--text)'>\n";
  svg +=
      "<style>" + themes("svg") + "circle,.name{fill:hsl(var(--hue) 70% var(--bright))}</style>\n";
  svg += "<rect width='900' height='520' fill='var(--ground)'/>\n";
  for (double d = x.low; d <= x.high; ++d) {
    const double at = x.at(std::pow(10, d));
    svg += fmt::format(
        "<path d='M{0:.1f} 40V470' stroke='var(--line)'/><text x='{0:.1f}' y='488' "
        "text-anchor='middle'>{1:g}</text>\n",
        at, std::pow(10, d));
  }
  for (double d = y.low; d <= y.high; ++d) {
    const double at = y.at(std::pow(10, d));
    svg += fmt::format(
        "<path d='M70 {0:.1f}H870' stroke='var(--line)'/><text x='62' y='{1:.1f}' "
        "text-anchor='end'>{2:g}</text>\n",
        at, at + 4, std::pow(10, d));
  }
  svg +=
      "<text x='470' y='510' text-anchor='middle'>operations per byte</text>"
      "<text transform='translate(16 255) rotate(-90)' text-anchor='middle'>TFLOP/s</text>"
      "<text x='70' y='22'>Roofline of " +
      escape_xml(records[0].device) + ", a colour an op</text>\n";
  if (plain != nullptr && plain->gemm_tflop_s > 0 && plain->copy_gb_s > 0) {
    svg += roof(x, y, plain->copy_gb_s, plain->gemm_tflop_s, "f32 GEMM");
  }
  if (half != nullptr && half->gemm_tflop_s > 0 && half->copy_gb_s > 0) {
    svg += roof(x, y, half->copy_gb_s, half->gemm_tflop_s, "bf16 GEMM");
  }
  const auto families = families_of(records);
  std::map<std::string, const Record*> highest;  // of each op, which its name stands beside
  for (const Record& r : records) {
    if (r.flops <= 0 || r.bytes <= 0) continue;
    const std::string family = family_of(r);
    svg += fmt::format(
        "<circle cx='{:.1f}' cy='{:.1f}' r='4' style='--hue:{}' fill-opacity='.8'><title>{}: "
        "{:.3g} "
        "TFLOP/s, {:.0f} % of the yardstick, {}</title></circle>\n",
        x.at(r.intensity()), y.at(r.tflop_s()), families.at(family), escape_xml(r.name),
        r.tflop_s(), 100 * r.share(), r.verdict());
    const Record*& best = highest[family];
    if (best == nullptr || r.tflop_s() > best->tflop_s()) best = &r;
  }
  svg += names_of(highest, families, x, y);
  return svg + "</svg>\n";
}

std::string report_html(std::span<const Record> records) {
  std::string html =
      "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' "
      "content='width=device-width'><title>hh_bench</title><style>" +
      themes(":root") +
      "body{font:15px/1.45 system-ui,sans-serif;max-width:75rem;margin:1rem auto;padding:0 "
      "1rem;background:var(--ground);color:var(--text)}table{border-collapse:collapse;width:100%}"
      "td,th{padding:.2rem .5rem;text-align:right;border-bottom:1px solid "
      "var(--line)}td:first-child,th:first-child{text-align:left;font-family:monospace}"
      ".dim{color:var(--dim);overflow-wrap:anywhere}.wide{overflow-x:auto}svg{max-width:100%}</"
      "style>"
      "<h1>Kernels against their limits</h1>\n" +
      about_lines(records);
  if (std::any_of(records.begin(), records.end(),
                  [](const Record& r) { return r.flops > 0 && r.bytes > 0; })) {
    html += roofline_svg(records);
  }
  html +=
      "<div class='wide'><table><tr><th>case<th>device<th>median "
      "us<th>p10<th>p90<th>GB/s<th>TFLOP/s<th>flop/B<th>of "
      "yardstick<th>verdict</tr>\n";
  for (const Record& r : records) {
    html += fmt::format(
        "<tr><td>{}<td>{}<td>{:.2f}<td>{:.2f}<td>{:.2f}<td>{:.2f}<td>{:.3f}<td>{:.1f}<td>{:.0f} "
        "%<td>{}</tr>\n",
        escape_xml(r.name), escape_xml(r.device), r.median(), r.percentile(0.1), r.percentile(0.9),
        r.gb_s(), r.tflop_s(), r.intensity(), 100 * r.share(), r.verdict());
  }
  return html + "</table></div></html>\n";
}

int plot_command(std::span<const std::string> words) {
  if (words.size() != 3 || words[1] != "--out") {
    throw std::invalid_argument(
        "plot: usage is hh_bench plot RUN.json --out FILE.svg or FILE.html");
  }
  const std::string& out = words[2];
  if (!out.ends_with(".svg") && !out.ends_with(".html")) {
    throw std::invalid_argument("--out " + out + ": must end in .svg or .html");
  }
  const auto records = read_records(words[0]);
  write_file_atomically(out, out.ends_with(".svg") ? roofline_svg(records) : report_html(records));
  return 0;
}

}  // namespace hh::bench
