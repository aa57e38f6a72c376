// SPDX-License-Identifier: Apache-2.0
// Searches of the API: from a request's values to IndexSearch, and from its answer to JSON.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "apps/serve/compute.h"
#include "apps/serve/served_index.h"
#include "apps/serve/upload.h"
#include "retrieval/search/index_search.h"

namespace hh::apps {

inline constexpr std::int64_t kMaxK = 1000;

/// Throws std::invalid_argument: too many filters, or a long one.
std::vector<std::string> checked_filters(std::vector<std::string> filters);

struct ApiQuery;

/// Values k, radius, rerank and filter.
struct SearchParameters {
  std::int64_t k = 20;
  std::optional<int> radius;
  std::int64_t rerank = 0;
  std::vector<std::string> filters;

  /// Throws std::invalid_argument.
  SearchParameters(const retrieval::Index& index, const Values& sent);
  /// Throws std::invalid_argument for a query that can't be re-ranked though that is asked for.
  void check(const ApiQuery& query) const;
};

/// What is searched for.
struct ApiQuery {
  retrieval::PackedCodes code;  // one
  std::vector<float> outputs;   // of the network; may be empty
  std::int64_t row = -1;        // where it is an item, which is left out then
  std::vector<int> labels;      // for precision
};

/// Values id and label, or code and label. Throws std::invalid_argument, and ApiError for an item
/// that isn't there.
ApiQuery query_of(const retrieval::Index& index, const Values& sent);
/// Value label. Throws std::invalid_argument.
ApiQuery query_of(const retrieval::Index& index, std::vector<float> outputs, const Values& sent);

struct ApiAnswers {
  std::vector<nlohmann::json> answers;  // query, results, precision, rerank and within_radius
  std::string method;                   // of the last of them
  double seconds = 0;
};

/// Searches on its share of `compute`, together what gains by it, and describes the results.
/// `tables`: null to scan. Throws what IndexSearch::run() and Compute throw.
ApiAnswers search_all(const IndexState& state, const retrieval::MultiIndex* tables,
                      std::span<const ApiQuery> queries, const SearchParameters& parameters,
                      Compute& compute);

nlohmann::json item_json(const retrieval::Index& index, const retrieval::IndexItem& item);
/// Of the first code.
nlohmann::json code_json(retrieval::CodesView code);

/// Classes named in the value label, "dog,3", ascending. Throws std::invalid_argument.
std::vector<int> labels_of(const retrieval::Index& index, const Values& sent);

}  // namespace hh::apps
