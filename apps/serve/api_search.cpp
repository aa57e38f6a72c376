// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/api_search.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <nlohmann/json.hpp>

#include "apps/serve/answer.h"
#include "apps/serve/elapsed.h"
#include "engine/text/utf8.h"
#include "kernels/core/check.h"
#include "retrieval/files/item_files.h"

namespace hh::apps {
namespace {

using nlohmann::json;
using retrieval::PackedCodes, retrieval::SearchAnswer, retrieval::SearchMethod;

constexpr std::int64_t kMaxRerank = 10'000;
constexpr std::size_t kMaxFilters = 16, kMaxText = 1024;
constexpr std::size_t kMaxDescribed = std::size_t{64} << 20;  // bytes of an answer's items

bool share(const std::vector<int>& a, const std::vector<int>& b) {
  return std::any_of(a.begin(), a.end(),
                     [&](int c) { return std::find(b.begin(), b.end(), c) != b.end(); });
}

SearchAnswer search(const IndexState& state, const retrieval::MultiIndex* tables,
                    std::span<const ApiQuery> queries, const SearchParameters& parameters,
                    Compute& compute) {
  PackedCodes codes;
  std::vector<float> outputs;
  std::vector<std::int64_t> rows;
  bool items = false;
  for (const ApiQuery& query : queries) {
    codes.append(query.code);
    parameters.check(query);
    if (parameters.rerank > 0) {
      outputs.insert(outputs.end(), query.outputs.begin(), query.outputs.end());
    }
    rows.push_back(query.row);
    items = items || query.row >= 0;
  }
  const retrieval::SearchRequest request{
      .k = parameters.k,
      .radius = parameters.radius,
      .filters = parameters.filters,
      .exclude_self = true,
      .rerank = parameters.rerank,
      .method = tables != nullptr ? SearchMethod::kMultiIndex : SearchMethod::kScan,
      .tables = tables};
  if (!items) rows.clear();
  SearchAnswer answer;
  const auto work = [&] {
    answer = state.search.run({.codes = codes, .outputs = outputs, .rows = rows}, request);
  };
  if (queries.size() > 1 || state.search.gains_by_threads(request)) {
    compute.on_all_threads(work);
  } else {
    compute.on_one_thread(work);
  }
  return answer;
}

/// How many queries take one turn together.
std::size_t together(const retrieval::Index& index, const SearchParameters& parameters) {
  constexpr std::int64_t kTurn = 64;                         // others wait meanwhile
  constexpr std::int64_t kMostHits = std::int64_t{1} << 24;  // in memory
  if (parameters.radius) {
    return std::size_t(
        std::clamp(kMostHits / std::max<std::int64_t>(index.rows(), 1), std::int64_t{1}, kTurn));
  }
  return kTurn;
}

/// `bytes`: of the descriptions so far. Items may have 64 KiB of metadata each. Throws ApiError.
json described(const retrieval::Index& index, const ApiQuery& query,
               const SearchParameters& parameters, std::vector<retrieval::Hit> hits, bool real,
               std::size_t& bytes) {
  json answer;
  answer["query"] =
      query.row >= 0 ? item_json(index, index.item(query.row)) : code_json(query.code);
  if (parameters.rerank > 0) answer["rerank"] = parameters.rerank;
  if (parameters.radius) answer["within_radius"] = hits.size();
  if (std::int64_t(hits.size()) > parameters.k) hits.resize(std::size_t(parameters.k));
  json results = json::array();
  std::size_t same = 0, known = 0;
  for (const retrieval::Hit& hit : hits) {
    const retrieval::IndexItem item = index.item(hit.row);
    bytes += item.description.path.size() + item.description.metadata.size();
    if (bytes > kMaxDescribed) {
      throw ApiError{413, "the results' metadata are more than " +
                              std::to_string(kMaxDescribed >> 20) +
                              " MiB: ask for fewer results at once"};
    }
    json value = item_json(index, item);
    value["distance"] = real ? json(hit.distance) : json(int(hit.distance));
    if (!query.labels.empty() && !item.description.labels.empty()) {
      const bool is_same = share(query.labels, item.description.labels);
      value["same_class"] = is_same;
      same += is_same;
      ++known;
    }
    results.push_back(std::move(value));
  }
  answer["results"] = std::move(results);
  answer["precision"] =
      known > 0 && known == hits.size() ? json(double(same) / double(known)) : json(nullptr);
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

SearchParameters::SearchParameters(const retrieval::Index& index, const Values& sent) {
  if (const auto values = sent.all("k"); !values.empty()) k = number("k", values[0], 1, kMaxK);
  if (const auto values = sent.all("radius"); !values.empty()) {
    radius = int(number("radius", values[0], 0, index.bits()));
  }
  if (const auto values = sent.all("rerank"); !values.empty()) {
    rerank = number("rerank", values[0], 1, kMaxRerank);
  }
  filters = checked_filters(sent.all("filter"));
}

void SearchParameters::check(const ApiQuery& query) const {
  HH_REQUIRE(rerank == 0 || !query.outputs.empty(),
             "re-ranking takes the network's outputs of each query: search by pictures, or by "
             "items of an index that was built with --keep-outputs");
}

ApiQuery query_of(const retrieval::Index& index, const Values& sent) {
  const auto ids = sent.all("id"), codes = sent.all("code");
  HH_REQUIRE(ids.empty() != codes.empty(), "what to search? Give either id or code");
  ApiQuery query{.code = {}, .outputs = {}, .labels = labels_of(index, sent)};
  if (!codes.empty()) {
    query.code = retrieval::parse_code(codes[0], index.bits());
    return query;
  }
  const auto row = index.row_of(number("id", ids[0], 0, std::numeric_limits<std::int64_t>::max()));
  if (!row) throw ApiError{404, "the index has no item with id " + ids[0]};
  query.row = *row;
  query.code.append(index.codes().slice(*row, *row + 1));
  const auto outputs = index.outputs_of(*row);
  query.outputs.assign(outputs.begin(), outputs.end());
  if (query.labels.empty()) query.labels = index.item(*row).description.labels;
  return query;
}

ApiQuery query_of(const retrieval::Index& index, std::vector<float> outputs, const Values& sent) {
  ApiQuery query{.code = PackedCodes::from_floats(outputs, 1, int(outputs.size())),
                 .outputs = {},
                 .labels = labels_of(index, sent)};
  query.outputs = std::move(outputs);
  return query;
}

ApiAnswers search_all(const IndexState& state, const retrieval::MultiIndex* tables,
                      std::span<const ApiQuery> queries, const SearchParameters& parameters,
                      Compute& compute) {
  using Clock = std::chrono::steady_clock;
  ApiAnswers all;
  std::size_t bytes = 0;
  while (all.answers.size() < queries.size()) {
    const auto left = queries.subspan(all.answers.size());
    const auto turn = left.first(std::min(left.size(), together(state.index, parameters)));
    const auto start = Clock::now();
    SearchAnswer found = search(state, tables, turn, parameters, compute);
    all.seconds += seconds_since(start);
    all.method = found.scanned > 0 ? "scan" : to_string(found.method);
    for (std::size_t q = 0; q < turn.size(); ++q) {
      all.answers.push_back(
          described(state.index, turn[q], parameters, std::move(found.hits[q]), found.real, bytes));
    }
  }
  return all;
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

std::vector<int> labels_of(const retrieval::Index& index, const Values& sent) {
  const std::string text = sent.one("label", kMaxText);
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
