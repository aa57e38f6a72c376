// SPDX-License-Identifier: Apache-2.0
#include "bench/support/plot.h"

#include <fmt/format.h>

#include <cmath>
#include <stdexcept>

#include "engine/files/file.h"
#include "engine/text/xml.h"

namespace hh::bench {
namespace {

const char* colour(const Record& r) {
  const std::string verdict = r.verdict();
  if (verdict == "memory-bound") return "#1b6ca8";
  if (verdict == "cache-bound") return "#1b9e77";
  return verdict == "compute-bound" ? "#b5471b" : "#777";
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
      "<polyline points='{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}' fill='none' stroke='#222' "
      "stroke-width='1.5'/><text x='{:.1f}' y='{:.1f}' text-anchor='end'>{}: {:.2f} TFLOP/s, copy "
      "{:.0f} "
      "GB/s</text>\n",
      x.at(from), y.at(from * gb_s / 1e3), x.at(ridge), y.at(tflop_s), x.at(right), y.at(tflop_s),
      x.at(right), y.at(tflop_s) - 5, name, tflop_s, gb_s);
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
      "font-size='12'><rect width='900' height='520' fill='white'/>\n";
  for (double d = x.low; d <= x.high; ++d) {
    const double at = x.at(std::pow(10, d));
    svg += fmt::format(
        "<path d='M{0:.1f} 40V470' stroke='#ddd'/><text x='{0:.1f}' y='488' "
        "text-anchor='middle'>{1:g}</text>\n",
        at, std::pow(10, d));
  }
  for (double d = y.low; d <= y.high; ++d) {
    const double at = y.at(std::pow(10, d));
    svg += fmt::format(
        "<path d='M70 {0:.1f}H870' stroke='#ddd'/><text x='62' y='{1:.1f}' "
        "text-anchor='end'>{2:g}</text>\n",
        at, at + 4, std::pow(10, d));
  }
  svg +=
      "<text x='470' y='510' text-anchor='middle'>operations per byte</text>"
      "<text transform='translate(16 255) rotate(-90)' text-anchor='middle'>TFLOP/s</text>"
      "<text x='70' y='22'>Roofline of " +
      escape_xml(records[0].device) +
      ": <tspan fill='#1b6ca8'>memory-bound</tspan>, <tspan fill='#1b9e77'>cache-bound</tspan>, "
      "<tspan fill='#b5471b'>compute-bound</tspan>, "
      "<tspan fill='#777'>latency-bound</tspan></text>\n";
  if (plain != nullptr && plain->gemm_tflop_s > 0 && plain->copy_gb_s > 0) {
    svg += roof(x, y, plain->copy_gb_s, plain->gemm_tflop_s, "f32 GEMM");
  }
  if (half != nullptr && half->gemm_tflop_s > 0 && half->copy_gb_s > 0) {
    svg += roof(x, y, half->copy_gb_s, half->gemm_tflop_s, "bf16 GEMM");
  }
  for (const Record& r : records) {
    if (r.flops <= 0 || r.bytes <= 0) continue;
    svg += fmt::format(
        "<circle cx='{:.1f}' cy='{:.1f}' r='4' fill='{}' fill-opacity='.7'><title>{}: {:.3g} "
        "TFLOP/s, {:.0f} % of the yardstick</title></circle>\n",
        x.at(r.intensity()), y.at(r.tflop_s()), colour(r), escape_xml(r.name), r.tflop_s(),
        100 * r.share());
  }
  return svg + "</svg>\n";
}

std::string report_html(std::span<const Record> records) {
  std::string html =
      "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' "
      "content='width=device-width'><title>hh_bench</title><style>body{font:14px "
      "sans-serif;max-width:75rem;margin:1rem auto;padding:0 "
      "1rem}table{border-collapse:collapse;width:100%}"
      "td,th{padding:.2rem .5rem;text-align:right;border-bottom:1px solid "
      "#ddd}td:first-child,th:first-child{text-align:left;font-family:monospace}svg{max-width:100%}"
      "</style>"
      "<h1>Kernels against their limits</h1>\n";
  if (std::any_of(records.begin(), records.end(),
                  [](const Record& r) { return r.flops > 0 && r.bytes > 0; })) {
    html += roofline_svg(records);
  }
  html +=
      "<table><tr><th>case<th>device<th>median us<th>p10<th>p90<th>GB/s<th>TFLOP/s<th>flop/B<th>of "
      "yardstick<th>verdict</tr>\n";
  for (const Record& r : records) {
    html += fmt::format(
        "<tr><td>{}<td>{}<td>{:.2f}<td>{:.2f}<td>{:.2f}<td>{:.2f}<td>{:.3f}<td>{:.1f}<td>{:.0f} "
        "%<td style='color:{}'>{}</tr>\n",
        escape_xml(r.name), escape_xml(r.device), r.median(), r.percentile(0.1), r.percentile(0.9),
        r.gb_s(), r.tflop_s(), r.intensity(), 100 * r.share(), colour(r), r.verdict());
  }
  return html + "</table></html>\n";
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
