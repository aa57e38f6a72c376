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

/// Values k, radius, rerank, filter and label.
struct SearchParameters {
  std::int64_t k = 20;
  std::optional<int> radius;
  std::int64_t rerank = 0;
  std::vector<std::string> filters;
  std::vector<int> labels;  // of the query, for precision

  /// Throws std::invalid_argument.
  SearchParameters(const retrieval::Index& index, const Upload& sent);
};

/// What is searched for.
struct ApiQuery {
  retrieval::CodesView code;       // one
  std::span<const float> outputs;  // of the network; may be empty
  std::int64_t row = -1;           // where it is an item, which is left out then
};

/// Searches on its share of `compute` and describes the results. `tables`: null to scan.
/// Throws what IndexSearch::run() and Compute throw.
nlohmann::json search_json(const IndexState& state, const retrieval::MultiIndex* tables,
                           const ApiQuery& query, const SearchParameters& parameters,
                           Compute& compute);

nlohmann::json item_json(const retrieval::Index& index, const retrieval::IndexItem& item);
/// Of the first code.
nlohmann::json code_json(retrieval::CodesView code);

/// Classes named in "dog,3", ascending. Throws std::invalid_argument.
std::vector<int> classes_named(const retrieval::Index& index, const std::string& text);

}  // namespace hh::apps
