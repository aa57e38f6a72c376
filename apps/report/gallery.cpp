// SPDX-License-Identifier: Apache-2.0
#include "apps/report/gallery.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/text/xml.h"

namespace hh::apps {
namespace {

constexpr const char* kStyle = R"css(
:root{color-scheme:light dark;--ground:#f6f7f9;--card:#fff;--text:#1c2128;--dim:#5b6470;
--line:#d9dee5;--well:#eceff3;--one:#2f5bb7;--zero:#d5dce8;--good:#1a7f37;--bad:#b42318}
@media(prefers-color-scheme:dark){:root{--ground:#12151a;--card:#1b2027;--text:#e6e9ee;
--dim:#9aa4b2;--line:#323a45;--well:#0d1014;--one:#7aa2f7;--zero:#2c3440;--good:#4ac26b;
--bad:#ff8a80}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1280px;padding:20px 16px 48px;background:var(--ground);
color:var(--text);font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,
sans-serif}
h1{font-size:1.55rem;margin:0 0 6px}
h2{font-size:1.05rem;margin:0;overflow-wrap:anywhere}
p{margin:2px 0}
.dim{color:var(--dim)}
.query{display:grid;gap:16px;margin-top:20px;padding:16px;background:var(--card);
border:1px solid var(--line);border-radius:12px}
@media(min-width:760px){.query{grid-template-columns:210px 1fr}}
.asked{min-width:0}
@media(max-width:759px){.asked{display:grid;grid-template-columns:124px 1fr;column-gap:14px}}
ol{list-style:none;margin:0;padding:0;display:grid;gap:10px;
grid-template-columns:repeat(auto-fill,minmax(118px,1fr))}
li{min-width:0;padding:6px;border:2px solid var(--line);border-radius:10px;font-size:.82rem}
li.good{border-color:var(--good)}
li.bad{border-color:var(--bad);border-style:dashed}
.frame{aspect-ratio:1;display:flex;align-items:center;justify-content:center;overflow:hidden;
background:var(--well);border-radius:6px;margin-bottom:6px}
.frame img{width:100%;height:100%;object-fit:contain}
.frame img.small{image-rendering:pixelated}
.none{color:var(--dim);font-size:.78rem;padding:8px;text-align:center}
.top{display:flex;justify-content:space-between;gap:6px}
.verdict{font-weight:600}
.good .verdict{color:var(--good)}
.bad .verdict{color:var(--bad)}
.name{overflow-wrap:anywhere}
.big{font-size:1.5rem;font-weight:700}
svg{display:block;width:100%;height:auto;margin:6px 0;border-radius:3px;background:var(--zero)}
svg path{fill:var(--one)}
li.bad svg path{fill:var(--bad)}
)css";

/// A strip of the bits that are set, at most 64 a line.
std::string strip(const std::string& bits, const std::string& label) {
  constexpr std::size_t kLine = 64;
  const std::size_t width = std::min(bits.size(), kLine);
  const std::size_t lines = width == 0 ? 0 : (bits.size() + width - 1) / width;
  // Of such a height that strips of all lengths look alike.
  const double height = width <= 32 ? 2.5 : 5;
  std::string path;
  for (std::size_t j = 0; j < bits.size(); ++j) {
    if (bits[j] != '1') continue;
    const std::size_t column = j % width, row = j / width;
    path += fmt::format("M{} {:g}h.86v{:g}h-.86z", column, double(row) * height, height * .92);
  }
  return fmt::format(
      "<svg viewBox=\"0 0 {} {:g}\" role=\"img\" aria-label=\"{}\"><path d=\"{}\"/></svg>", width,
      double(lines) * height, escape_xml(label), path);
}

std::string frame(const GalleryItem& item) {
  if (item.picture.empty()) {
    return "<div class=\"frame\"><span class=\"none\">no picture</span></div>";
  }
  constexpr int kSmall = 64;
  return fmt::format(
      "<div class=\"frame\"><img{} width=\"{}\" height=\"{}\" src=\"{}\" alt=\"{}\"></div>",
      item.picture.width <= kSmall ? " class=\"small\"" : "", item.picture.width,
      item.picture.height, item.picture.uri(),
      escape_xml(item.label.empty() ? item.name : item.label + ", " + item.name));
}

std::string differing(const std::string& a, const std::string& b) {
  std::string bits(std::min(a.size(), b.size()), '0');
  for (std::size_t j = 0; j < bits.size(); ++j) bits[j] = a[j] != b[j] ? '1' : '0';
  return bits;
}

std::string result_html(const GalleryQuery& query, const GalleryResult& result, std::size_t rank) {
  const GalleryItem& item = result.item;
  std::string html = "<li";
  if (result.same_class) html += *result.same_class ? " class=\"good\"" : " class=\"bad\"";
  html += ">" + frame(item);
  html += fmt::format("<div class=\"top\"><span>{}.</span><span>distance {:.4g}</span></div>", rank,
                      result.distance);
  const std::string bits = differing(query.item.code, item.code);
  html += strip(bits, fmt::format("{} bits differ from the query's",
                                  std::count(bits.begin(), bits.end(), '1')));
  if (result.same_class) {
    html += fmt::format("<p class=\"verdict\">{}</p>",
                        *result.same_class ? "✓ same class" : "✗ other class");
  }
  if (!item.label.empty()) html += "<p>" + escape_xml(item.label) + "</p>";
  html += fmt::format("<p class=\"name dim\" title=\"{0}\"><bdi>{0}</bdi></p></li>\n",
                      escape_xml(item.name));
  return html;
}

std::string query_html(const GalleryQuery& query) {
  const GalleryItem& item = query.item;
  std::string html = "<section class=\"query\">\n<div class=\"asked\">" + frame(item) + "<div>";
  html += "<h2>" + escape_xml(item.label.empty() ? item.name : item.label) + "</h2>";
  if (!item.label.empty()) html += "<p class=\"dim\">" + escape_xml(item.name) + "</p>";
  html += strip(item.code, "code " + item.code);
  html += fmt::format("<p class=\"dim\">code of {} bits</p>", item.code.size());
  if (const auto precision = query.precision()) {
    html += fmt::format("<p><span class=\"big\">{:.0f} %</span> precision@{}</p>", 100 * *precision,
                        query.results.size());
  }
  html += "</div></div>\n";
  if (query.results.empty()) html += "<p class=\"dim\">Nothing was found.</p>\n";
  html += "<ol>\n";
  for (std::size_t i = 0; i < query.results.size(); ++i) {
    html += result_html(query, query.results[i], i + 1);
  }
  return html + "</ol>\n</section>\n";
}

}  // namespace

std::optional<double> GalleryQuery::precision() const {
  double same = 0;
  for (const GalleryResult& result : results) {
    if (!result.same_class) return std::nullopt;
    same += *result.same_class;
  }
  if (results.empty()) return std::nullopt;
  return same / double(results.size());
}

std::string to_html(const Gallery& gallery) {
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\n<meta "
      "name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{0}</title>\n"
      "<style>{1}</style></head>\n<body>\n<header><h1>{0}</h1>\n",
      escape_xml(gallery.title), kStyle);
  for (const std::string& fact : gallery.facts) {
    html += "<p class=\"dim\">" + escape_xml(fact) + "</p>\n";
  }
  double sum = 0;
  int known = 0;
  for (const GalleryQuery& query : gallery.queries) {
    if (const auto precision = query.precision()) sum += *precision, ++known;
  }
  if (known > 1) {
    html += fmt::format(
        "<p><span class=\"big\">{:.1f} %</span> of the results below are of their query's "
        "class</p>\n",
        100 * sum / known);
  }
  html +=
      "<p class=\"dim\">The strip of a query shows its code, that of a result the bits in which "
      "its code differs.</p>\n</header>\n<main>\n";
  for (const GalleryQuery& query : gallery.queries) html += query_html(query);
  return html + "</main>\n</body>\n</html>\n";
}

}  // namespace hh::apps
