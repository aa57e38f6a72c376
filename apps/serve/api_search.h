// SPDX-License-Identifier: Apache-2.0
// Searches of the API: from a request's values to what is searched, and from what is found to JSON.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "apps/serve/compute.h"
#include "apps/serve/served.h"
#include "apps/serve/upload.h"

namespace hh::apps {

inline constexpr std::int64_t kMaxK = 1000;

/// Throws std::invalid_argument: too many filters, or a long one.
std::vector<std::string> checked_filters(std::vector<std::string> filters);

/// Values k, radius, rerank and filter.
struct SearchParameters : SearchRules {
  /// Throws std::invalid_argument.
  SearchParameters(const ServedItems& served, const Values& sent);
  /// Throws std::invalid_argument for a query that can't be re-ranked though that is asked for.
  void check(const ApiQuery& query) const;
};

/// Values id and label, or code and label. Throws std::invalid_argument, and ApiError for an item
/// that isn't there.
ApiQuery query_of(const ServedItems& served, const Values& sent);
/// Value label. Throws std::invalid_argument.
ApiQuery query_of(const ServedItems& served, std::vector<float> outputs, const Values& sent);

struct ApiAnswers {
  std::vector<nlohmann::json> answers;  // query, results, precision, rerank and within_radius
  std::string method;                   // of the last of them
  double seconds = 0;
};

/// Searches, together what gains by it, and describes the results. Throws what ServedItems::search() and
/// described() throw.
ApiAnswers search_all(const ServedItems& served, std::span<const ApiQuery> queries,
                      const SearchParameters& parameters, Compute& compute);

nlohmann::json item_json(const ServedItems& served, const ServedItem& item);
/// Of the first code.
nlohmann::json code_json(retrieval::CodesView code);

/// Classes named in the value label, "dog,3", ascending. Throws std::invalid_argument.
std::vector<int> labels_of(const ServedItems& served, const Values& sent);

}  // namespace hh::apps
