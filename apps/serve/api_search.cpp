// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/api_search.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

#include "apps/serve/answer.h"
#include "apps/terminal/elapsed.h"
#include "engine/text/json_text.h"
#include "engine/text/utf8.h"
#include "kernels/core/check.h"
#include "retrieval/files/item_files.h"

namespace hh::apps {
namespace {

using nlohmann::json;
using retrieval::PackedCodes;

constexpr std::int64_t kMaxRerank = 10'000;
constexpr std::size_t kMaxFilters = 16, kMaxText = 1024;
constexpr std::size_t kMaxDescribed = std::size_t{64} << 20;  // bytes of an answer's items

bool share(const std::vector<int>& a, const std::vector<int>& b) {
  return std::any_of(a.begin(), a.end(),
                     [&](int c) { return std::find(b.begin(), b.end(), c) != b.end(); });
}

/// Items of one turn's results, asked for some at a time: they may have 64 KiB of metadata each.
class Described {
 public:
  /// `bytes`: of all descriptions so far. Throws ApiError.
  Described(const ServedItems& served, const ServedHits& hits, std::size_t& bytes) {
    constexpr std::size_t kAtOnce = 256;
    std::vector<std::int64_t> keys;
    for (const auto& of_query : hits.of) {
      for (const FoundItem& hit : of_query) keys.push_back(hit.key);
    }
    for (std::size_t at = 0; at < keys.size(); at += kAtOnce) {
      auto some = served.described(
          std::span<const std::int64_t>(keys).subspan(at, std::min(kAtOnce, keys.size() - at)));
      for (const auto& item : some) {
        if (item) bytes += item->description.path.size() + item->description.metadata.size();
      }
      if (bytes > kMaxDescribed) {
        throw ApiError{413, "the results' metadata are more than " +
                                std::to_string(kMaxDescribed >> 20) +
                                " MiB: ask for fewer results at once"};
      }
      std::move(some.begin(), some.end(), std::back_inserter(items_));
    }
  }
  /// Of the next hit, in their order.
  const std::optional<ServedItem>& next() { return items_[next_++]; }

 private:
  std::vector<std::optional<ServedItem>> items_;
  std::size_t next_ = 0;
};

/// `within`: how many are within the radius.
json answer_of(const ServedItems& served, const ApiQuery& query, const SearchParameters& parameters,
               std::span<const FoundItem> hits, std::size_t within, bool real, Described& items) {
  json answer;
  answer["query"] = query.item ? item_json(served, *query.item) : code_json(query.code);
  if (parameters.rerank > 0) answer["rerank"] = parameters.rerank;
  if (parameters.radius) answer["within_radius"] = within;
  json results = json::array();
  std::size_t same = 0, known = 0;
  for (const FoundItem& hit : hits) {
    const auto& item = items.next();
    if (!item) continue;
    json value = item_json(served, *item);
    value["distance"] = real ? json(hit.distance) : json(int(hit.distance));
    if (!query.labels.empty() && !item->description.labels.empty()) {
      const bool is_same = share(query.labels, item->description.labels);
      value["same_class"] = is_same;
      same += is_same;
      ++known;
    }
    results.push_back(std::move(value));
  }
  answer["precision"] =
      known > 0 && known == results.size() ? json(double(same) / double(known)) : json(nullptr);
  answer["results"] = std::move(results);
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

SearchParameters::SearchParameters(const ServedItems& served, const Values& sent) {
  if (const auto values = sent.all("k"); !values.empty()) k = number("k", values[0], 1, kMaxK);
  if (const auto values = sent.all("radius"); !values.empty()) {
    radius = int(number("radius", values[0], 0, served.about().bits));
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

ApiQuery query_of(const ServedItems& served, const Values& sent) {
  const auto ids = sent.all("id"), codes = sent.all("code");
  HH_REQUIRE(ids.empty() != codes.empty(), "what to search? Give either id or code");
  ApiQuery query{.code = {}, .outputs = {}, .item = {}, .labels = labels_of(served, sent)};
  if (!codes.empty()) {
    query.code = retrieval::parse_code(codes[0], served.about().bits);
    return query;
  }
  query.item = served.item(number("id", ids[0], 0, std::numeric_limits<std::int64_t>::max()));
  if (!query.item) throw ApiError{404, "the index has no item with id " + ids[0]};
  query.code = query.item->code;
  query.outputs = served.outputs_of(query.item->id);
  if (query.labels.empty()) query.labels = query.item->description.labels;
  return query;
}

ApiQuery query_of(const ServedItems& served, std::vector<float> outputs, const Values& sent) {
  ApiQuery query{.code = PackedCodes::from_floats(outputs, 1, int(outputs.size())),
                 .outputs = {},
                 .item = {},
                 .labels = labels_of(served, sent)};
  query.outputs = std::move(outputs);
  return query;
}

ApiAnswers search_all(const ServedItems& served, std::span<const ApiQuery> queries,
                      const SearchParameters& parameters, Compute& compute) {
  using Clock = std::chrono::steady_clock;
  ApiAnswers all;
  std::size_t bytes = 0;
  for (const ApiQuery& query : queries) parameters.check(query);
  while (all.answers.size() < queries.size()) {
    const auto left = queries.subspan(all.answers.size());
    const auto turn =
        left.first(std::min(left.size(), std::size_t(served.most_together(parameters))));
    const auto start = Clock::now();
    ServedHits found = served.search(turn, parameters, compute);
    all.seconds += seconds_since(start);
    all.method = found.method;
    std::vector<std::size_t> within;
    for (auto& hits : found.of) {
      within.push_back(hits.size());
      if (std::int64_t(hits.size()) > parameters.k) hits.resize(std::size_t(parameters.k));
    }
    Described items(served, found, bytes);
    for (std::size_t q = 0; q < turn.size(); ++q) {
      all.answers.push_back(
          answer_of(served, turn[q], parameters, found.of[q], within[q], found.real, items));
    }
  }
  return all;
}

json item_json(const ServedItems& served, const ServedItem& item) {
  json labels = json::array();
  for (const int c : item.description.labels) labels.push_back(served.about().class_name(c));
  json value = code_json(item.code);
  value["id"] = item.id;
  value["name"] = as_utf8(item.description.path);
  value["labels"] = std::move(labels);
  const json metadata = parse_json_if_any(item.description.metadata);
  value["metadata"] = metadata.is_discarded() ? json(nullptr) : metadata;  // none, or damaged
  return value;
}

json code_json(retrieval::CodesView code) {
  return {{"code", retrieval::code_to_hex(code, 0)}, {"bits", retrieval::code_to_bits(code, 0)}};
}

std::vector<int> labels_of(const ServedItems& served, const Values& sent) {
  const std::string text = sent.one("label", kMaxText);
  std::vector<int> classes;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    const std::string name = text.substr(at, comma - at);
    at = comma + 1;
    // An index without names takes any number.
    if (served.about().class_names.empty()) {
      classes.push_back(int(number("label", name, 0, retrieval::kMaxClasses - 1)));
    } else {
      classes.push_back(served.about().class_of(name));
    }
  }
  std::sort(classes.begin(), classes.end());
  classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
  return classes;
}

}  // namespace hh::apps
