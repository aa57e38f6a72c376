// SPDX-License-Identifier: Apache-2.0
#include "apps/report/search_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "apps/terminal/shown_text.h"
#include "engine/text/counted.h"
#include "engine/text/json_text.h"
#include "engine/text/log.h"
#include "engine/text/utf8.h"
#include "kernels/core/check.h"
#include "retrieval/codes/class_names.h"
#include "retrieval/files/item_files.h"
#include "retrieval/files/npy.h"

namespace hh::apps {
namespace {

using nlohmann::ordered_json;
using retrieval::CollectionItem, retrieval::Hit;

std::string name_of(const CollectionItem& item) {
  return item.description.path.empty() ? fmt::format("#{}", item.id) : item.description.path;
}

}  // namespace

SearchReport::SearchReport(const Searched& searched, const retrieval::CodeSet& queries,
                           const retrieval::SearchRequest& request,
                           const retrieval::SearchAnswer& answer)
    : searched_(searched), queries_(queries), request_(request), answer_(answer) {
  const auto &ours = queries.class_names, &theirs = searched.about().class_names;
  comparable_ = queries.classes > 0 && searched.about().classes > 0;
  if (!comparable_ || ours.empty() || theirs.empty() || ours == theirs) return;
  query_classes_ = retrieval::class_counterparts(theirs, ours);
  if (std::all_of(query_classes_.begin(), query_classes_.end(), [](int c) { return c < 0; })) {
    log(LogLevel::kWarning,
        fmt::format("queries and {} share no class; results aren't judged", searched.kind()));
    comparable_ = false;
  }
}

void SearchReport::write_arrays(const std::string& ids_path,
                                const std::string& distances_path) const {
  if (ids_path.empty() && distances_path.empty()) return;
  HH_REQUIRE(!request_.radius, "--out is for the k nearest; for a radius use --json");
  const auto queries = std::int64_t(answer_.hits.size());
  const auto k = std::size_t(request_.k);
  constexpr std::int64_t kMostCells = std::int64_t{1} << 30;
  HH_REQUIRE(queries == 0 || request_.k <= kMostCells / queries,
             "--out of " << queries << " x " << k << " results: use a -k of at most "
                         << kMostCells / std::max<std::int64_t>(queries, 1));
  std::vector<std::int64_t> ids(std::size_t(queries) * k, -1);
  std::vector<float> distances(ids.size(), -1);
  for (std::size_t q = 0; q < answer_.hits.size(); ++q) {
    for (std::size_t i = 0; i < answer_.hits[q].size(); ++i) {
      const Hit& hit = answer_.hits[q][i];
      ids[q * k + i] = searched_.id(hit.row);
      distances[q * k + i] = hit.distance;
    }
  }
  const std::int64_t shape[] = {queries, request_.k};
  if (!ids_path.empty()) retrieval::write_npy<std::int64_t>(ids_path, shape, ids);
  if (distances_path.empty()) return;
  if (answer_.real) {
    retrieval::write_npy<float>(distances_path, shape, distances);
  } else {
    const std::vector<std::int32_t> whole(distances.begin(), distances.end());
    retrieval::write_npy<std::int32_t>(distances_path, shape, whole);
  }
}

std::string SearchReport::method_text() const {
  std::string text = searched_.method(answer_) + (answer_.choice ? " (chosen)" : "");
  if (request_.rerank > 0) text += fmt::format(", {} re-ranked by outputs", request_.rerank);
  return text;
}

std::string SearchReport::labels_text(const std::vector<int>& labels) const {
  std::string text;
  for (const int c : labels) text += (text.empty() ? "" : ", ") + searched_.about().class_name(c);
  return text;
}

std::string SearchReport::label_of_query(std::int64_t q) const {
  std::string text;
  const auto& names = queries_.class_names;
  for (int c = 0; c < queries_.classes; ++c) {
    if (!queries_.label_view().has(q, c)) continue;
    text += (text.empty() ? "" : ", ") +
            (names.empty() ? searched_.about().class_name(c) : names[std::size_t(c)]);
  }
  return text;
}

std::optional<bool> SearchReport::same_class(std::int64_t q, const std::vector<int>& labels) const {
  if (!comparable_ || labels.empty() || label_of_query(q).empty()) return std::nullopt;
  return std::any_of(labels.begin(), labels.end(), [&](int c) {
    if (!query_classes_.empty()) c = query_classes_[std::size_t(c)];
    return c >= 0 && c < queries_.classes && queries_.label_view().has(q, c);
  });
}

/// Seconds that were expected of each way.
ordered_json SearchReport::choice_json() const {
  const retrieval::SearchEstimate& estimate = *answer_.choice;
  ordered_json json{{"choose_seconds", answer_.choose_seconds}, {"measured", estimate.measured}};
  if (!estimate.measured) return json;
  json["scan_estimate"] = estimate.scan;
  json["build_estimate"] = estimate.build;
  json["lookups_estimate"] = estimate.lookups;
  return json;
}

ordered_json SearchReport::query_json(std::int64_t q) const {
  ordered_json results = ordered_json::array();
  for (const Hit& hit : answer_.hits[std::size_t(q)]) {
    const CollectionItem item = searched_.item(hit.row);
    ordered_json result{{"id", item.id}};
    result["distance"] =
        answer_.real ? ordered_json(hit.distance) : ordered_json(int(hit.distance));
    if (!item.description.path.empty()) result["path"] = as_utf8(item.description.path);
    if (!item.description.labels.empty()) {
      result["labels"] = ordered_json::array();
      for (const int c : item.description.labels) {
        result["labels"].push_back(searched_.about().class_name(c));
      }
    }
    if (!item.description.metadata.empty()) {
      result["metadata"] = parse_ordered_json(item.description.metadata);
    }
    if (const auto same = same_class(q, item.description.labels)) result["same_class"] = *same;
    results.push_back(std::move(result));
  }
  return {{"query", as_utf8(queries_.name(q))},
          {"code", retrieval::code_to_hex(queries_.codes, q)},
          {"results", std::move(results)}};
}

ordered_json SearchReport::to_json(bool with_results) const {
  ordered_json all{{searched_.kind(), as_utf8(searched_.place())},
                   {"items", searched_.count()},
                   {"bits", searched_.about().bits},
                   {"queries", queries_.count()},
                   {"method", searched_.method(answer_)}};
  if (request_.radius) {
    all["radius"] = *request_.radius;
  } else {
    all["k"] = request_.k;
  }
  if (request_.rerank > 0) all["rerank"] = request_.rerank;
  if (!request_.filters.empty()) all["filters"] = request_.filters;
  if (answer_.choice) all["choice"] = choice_json();
  if (answer_.method == retrieval::SearchMethod::kMultiIndex) {
    all["build_seconds"] = answer_.build_seconds;
  }
  all["search_seconds"] = answer_.seconds;
  if (!with_results) return all;
  all["results"] = ordered_json::array();
  for (std::int64_t q = 0; q < queries_.count(); ++q) all["results"].push_back(query_json(q));
  return all;
}

void SearchReport::print_query(std::int64_t q) const {
  const std::string label = label_of_query(q);
  say("{}{}  {}\n", queries_.name(q), label.empty() ? "" : " (" + label + ")",
      retrieval::code_to_hex(queries_.codes, q));
  const auto& hits = answer_.hits[std::size_t(q)];
  if (hits.empty()) say("  nothing found\n");
  std::vector<CollectionItem> items;
  std::size_t width = 5;
  for (const Hit& hit : hits) {
    items.push_back(searched_.item(hit.row));
    width = std::max(width, shown_text(labels_text(items.back().description.labels)).size());
  }
  if (!hits.empty()) {
    say("  {:>4}  {:>10}  {:>8}  {:<{}}  {}\n", "rank", "id", "distance", "label", width, "path");
  }
  for (std::size_t i = 0; i < hits.size(); ++i) {
    const auto same = same_class(q, items[i].description.labels);
    say("  {:>4}  {:>10}  {:>8.6g}  {:<{}}  {}{}\n", i + 1, items[i].id, hits[i].distance,
        labels_text(items[i].description.labels), width, items[i].description.path,
        same && !*same ? "  (other class)" : "");
  }
}

void SearchReport::print_table() const {
  constexpr std::int64_t kMostQueries = 20;
  for (std::int64_t q = 0; q < std::min(queries_.count(), kMostQueries); ++q) print_query(q);
  if (queries_.count() > kMostQueries) {
    say("... and {}: --json, --out and --html have them all\n",
        counted(queries_.count() - kMostQueries, "more query", "more queries"));
  }
  say("{} in {} of {} by {}: {:.4g} s\n", counted(queries_.count(), "query", "queries"),
      counted(searched_.count(), "item"), counted(searched_.about().bits, "bit"), method_text(),
      answer_.seconds);
}

Gallery SearchReport::gallery(ThumbnailSource pictures, bool queries_are_here) const {
  Gallery gallery;
  gallery.title = "HybridHash search";
  gallery.facts.push_back(
      fmt::format("{}: {} of {}, {}, by {} in {:.3g} s", searched_.place(),
                  counted(searched_.count(), "item"), counted(searched_.about().bits, "bit"),
                  request_.radius ? fmt::format("all within distance {}", *request_.radius)
                                  : fmt::format("the {} nearest", request_.k),
                  method_text(), answer_.seconds));
  for (const std::string& filter : request_.filters) gallery.facts.push_back("only " + filter);
  // Items of a folder are named by their paths within it.
  pictures.other_root = bytes_of_utf8(searched_.about().source);
  Thumbnails thumbnails(pictures);
  for (std::int64_t q = 0; q < queries_.count(); ++q) {
    GalleryQuery query;
    const std::string name = queries_.name(q);
    query.item = {
        as_utf8(name), label_of_query(q), retrieval::code_to_bits(queries_.codes, q),
        thumbnails.of(queries_are_here ? std::filesystem::absolute(name).string() : name)};
    for (const Hit& hit : answer_.hits[std::size_t(q)]) {
      const CollectionItem item = searched_.item(hit.row);
      query.results.push_back(
          {{as_utf8(name_of(item)), labels_text(item.description.labels),
            retrieval::code_to_bits(item.code, 0), thumbnails.of(name_of(item))},
           item.id,
           hit.distance,
           same_class(q, item.description.labels)});
    }
    gallery.queries.push_back(std::move(query));
  }
  return gallery;
}

}  // namespace hh::apps
