// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/api_search.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "apps/serve/answer.h"
#include "engine/text/utf8.h"
#include "kernels/core/check.h"
#include "retrieval/files/item_files.h"

namespace hh::apps {
namespace {

using nlohmann::json;
using retrieval::SearchAnswer, retrieval::SearchMethod;

constexpr std::int64_t kMaxRerank = 10'000;
constexpr std::size_t kMaxFilters = 16, kMaxText = 1024;

bool share(const std::vector<int>& a, const std::vector<int>& b) {
  return std::any_of(a.begin(), a.end(),
                     [&](int c) { return std::find(b.begin(), b.end(), c) != b.end(); });
}

SearchAnswer search(const IndexState& state, const retrieval::MultiIndex* tables,
                    const ApiQuery& query, const SearchParameters& parameters, Compute& compute) {
  retrieval::SearchQueries queries{.codes = query.code, .outputs = query.outputs, .rows = {}};
  if (query.row >= 0) queries.rows = std::span(&query.row, 1);
  const retrieval::SearchRequest request{
      .k = parameters.k,
      .radius = parameters.radius,
      .filters = parameters.filters,
      .exclude_self = true,
      .rerank = parameters.rerank,
      .method = tables != nullptr ? SearchMethod::kMultiIndex : SearchMethod::kScan,
      .tables = tables};
  SearchAnswer answer;
  const auto work = [&] { answer = state.search.run(queries, request); };
  if (state.search.gains_by_threads(request)) {
    compute.on_all_threads(work);
  } else {
    compute.on_one_thread(work);
  }
  return answer;
}

}  // namespace

std::vector<std::string> checked_filters(std::vector<std::string> filters) {
  HH_REQUIRE(filters.size() <= kMaxFilters,
             filters.size() << " filters; the limit is " << kMaxFilters << ": leave some out");
  for (const std::string& filter : filters) {
    HH_REQUIRE(filter.size() <= kMaxText,
               "a filter of " << filter.size() << " bytes: use at most " << kMaxText);
  }
  return filters;
}

SearchParameters::SearchParameters(const retrieval::Index& index, const Upload& sent) {
  if (const auto values = sent.all("k"); !values.empty()) k = number("k", values[0], 1, kMaxK);
  if (const auto values = sent.all("radius"); !values.empty()) {
    radius = int(number("radius", values[0], 0, index.bits()));
  }
  if (const auto values = sent.all("rerank"); !values.empty()) {
    rerank = number("rerank", values[0], 1, kMaxRerank);
  }
  filters = checked_filters(sent.all("filter"));
  if (const auto values = sent.all("label"); !values.empty()) {
    HH_REQUIRE(values[0].size() <= kMaxText,
               "a label of " << values[0].size() << " bytes: use at most " << kMaxText);
    labels = classes_named(index, values[0]);
  }
}

json search_json(const IndexState& state, const retrieval::MultiIndex* tables,
                 const ApiQuery& query, const SearchParameters& parameters, Compute& compute) {
  const retrieval::Index& index = state.index;
  const auto start = std::chrono::steady_clock::now();
  SearchAnswer found = search(state, tables, query, parameters, compute);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  auto& hits = found.hits[0];
  json answer;
  answer["method"] = found.scanned > 0 ? "scan" : to_string(found.method);
  if (parameters.rerank > 0) answer["rerank"] = parameters.rerank;
  if (parameters.radius) answer["within_radius"] = hits.size();
  if (std::int64_t(hits.size()) > parameters.k) hits.resize(std::size_t(parameters.k));
  json results = json::array();
  std::size_t same = 0, known = 0;
  for (const retrieval::Hit& hit : hits) {
    const retrieval::IndexItem item = index.item(hit.row);
    json value = item_json(index, item);
    value["distance"] = found.real ? json(hit.distance) : json(int(hit.distance));
    if (!parameters.labels.empty() && !item.description.labels.empty()) {
      const bool is_same = share(parameters.labels, item.description.labels);
      value["same_class"] = is_same;
      same += is_same;
      ++known;
    }
    results.push_back(std::move(value));
  }
  answer["results"] = std::move(results);
  answer["precision"] =
      known > 0 && known == hits.size() ? json(double(same) / double(known)) : json(nullptr);
  answer["search_seconds"] = seconds;
  return answer;
}

json item_json(const retrieval::Index& index, const retrieval::IndexItem& item) {
  json labels = json::array();
  for (const int c : item.description.labels) labels.push_back(index.class_name(c));
  json value{{"id", item.id},
             {"name", as_utf8(item.description.path)},
             {"labels", labels},
             {"code", retrieval::code_to_hex(index.codes(), item.row)},
             {"bits", retrieval::code_to_bits(index.codes(), item.row)}};
  value["metadata"] = item.description.metadata.empty()
                          ? json(nullptr)
                          : json::parse(item.description.metadata, nullptr, false);
  return value;
}

json code_json(retrieval::CodesView code) {
  return {{"code", retrieval::code_to_hex(code, 0)}, {"bits", retrieval::code_to_bits(code, 0)}};
}

std::vector<int> classes_named(const retrieval::Index& index, const std::string& text) {
  std::vector<int> classes;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    const std::string name = text.substr(at, comma - at);
    at = comma + 1;
    // An index without names takes any number.
    if (index.manifest().class_names.empty()) {
      classes.push_back(int(number("label", name, 0, retrieval::kMaxClasses - 1)));
    } else {
      classes.push_back(index.class_of(name));
    }
  }
  std::sort(classes.begin(), classes.end());
  classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
  return classes;
}

}  // namespace hh::apps
