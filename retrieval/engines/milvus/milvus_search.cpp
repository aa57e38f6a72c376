// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "kernels/core/check.h"
#include "retrieval/engines/milvus/milvus_collection.h"

namespace hh::retrieval {
namespace {

using Stub = MilvusConnection::Stub;
using Hits = std::vector<std::vector<CollectionHit>>;
constexpr int kSeconds = 120;
constexpr std::int64_t kMaxK = 16'384;            // of Milvus, unless set otherwise
constexpr std::int64_t kMaxQueries = 1'024;       // of one call
constexpr std::int64_t kMaxHits = 1'000'000;      // of one call, 12 bytes each
constexpr std::int64_t kIdsOfCondition = 10'000;  // where Milvus can't say a filter
constexpr int kExpression = 1;

void add_parameter(milvus::SearchRequest& request, const char* key, const std::string& value) {
  auto* const pair = request.add_search_params();
  pair->set_key(key);
  pair->set_value(value);
}

std::string placeholders(CodesView queries) {
  milvus::PlaceholderGroup group;
  auto* const values = group.add_placeholders();
  values->set_tag("$0");
  values->set_type(kBinaryVector);
  for (std::int64_t i = 0; i < queries.count; ++i) {
    values->add_values(queries.row(i).data(), std::size_t(queries.row_bytes()));
  }
  return group.SerializeAsString();
}

bool by_distance_then_id(const CollectionHit& a, const CollectionHit& b) {
  return a.distance != b.distance ? a.distance < b.distance : a.id < b.id;
}

}  // namespace

std::int64_t MilvusCollection::max_k() const { return kMaxK; }

Hits MilvusCollection::search_once(CodesView queries, std::int64_t k,
                                   const std::string& condition) {
  const auto results = loaded([&] {
    milvus::SearchRequest request;
    request.set_collection_name(collection_);
    request.set_dsl(condition);
    request.set_dsl_type(kExpression);
    request.set_placeholder_group(placeholders(queries));
    request.set_nq(queries.count);
    add_parameter(request, "anns_field", kCodeField);
    add_parameter(request, "topk", std::to_string(k));
    add_parameter(request, "metric_type", "HAMMING");
    add_parameter(request, "params", "{}");
    add_parameter(request, "round_decimal", "-1");
    say_how_fresh(request);
    return connection_.call(&Stub::Search, request, kSeconds);
  });
  const milvus::SearchResultData& data = results.results();
  const auto& ids = data.ids().int_id().data();
  const auto wrong = [&] { connection_.fail("its answer to a search can't be; is it a Milvus?"); };
  Hits hits(static_cast<std::size_t>(queries.count));
  if (ids.empty() && data.scores_size() == 0) return hits;
  if (data.topks_size() != queries.count || data.scores_size() != ids.size()) wrong();
  int at = 0;
  for (std::size_t q = 0; q < hits.size(); ++q) {
    const std::int64_t n = data.topks(int(q));
    if (n < 0 || n > k || n > ids.size() - at) wrong();
    for (const int end = at + int(n); at < end; ++at) {
      const float distance = data.scores(at);
      if (!(distance >= 0 && distance <= float(queries.bits)) || distance != std::floor(distance)) {
        wrong();
      }
      hits[q].push_back({.id = ids.Get(at), .distance = int(distance)});
    }
  }
  return hits;
}

void MilvusCollection::search_pieces(CodesView queries, std::int64_t k,
                                     const std::string& condition, Hits& hits) {
  const std::int64_t piece = std::clamp<std::int64_t>(kMaxHits / k, 1, kMaxQueries);
  for (std::int64_t first = 0; first < queries.count; first += piece) {
    const std::int64_t end = std::min(first + piece, queries.count);
    Hits found = search_once(queries.slice(first, end), k, condition);
    for (std::int64_t q = first; q < end; ++q) {
      auto& of_query = hits[std::size_t(q)];
      const auto& more = found[std::size_t(q - first)];
      of_query.insert(of_query.end(), more.begin(), more.end());
    }
  }
}

Hits MilvusCollection::search(CodesView queries, const CollectionRequest& request) {
  const CollectionAbout& about = known_about();
  HH_REQUIRE(request.k >= 1, "k = " << request.k << ": use at least 1");
  HH_REQUIRE(request.k <= kMaxK, "k = " << request.k << ": Milvus gives at most " << kMaxK
                                        << "; use a smaller k, or an index of your own");
  HH_REQUIRE(queries.count == 0 || queries.bits == about.bits,
             "codes of " << queries.bits << " bits, but the collection's have " << about.bits);
  const MilvusCondition condition = condition_of(request.filters);
  Hits hits(static_cast<std::size_t>(queries.count));
  if (queries.count == 0) return hits;

  const bool excludes = !request.exclude.empty();
  const std::int64_t k = std::min(request.k + (excludes ? 1 : 0), kMaxK);
  std::vector<std::string> texts{condition.text};
  if (!condition.rest.empty()) {
    texts.clear();
    const std::vector<std::int64_t> ids = passing(condition);
    for (std::size_t i = 0; i < ids.size(); i += kIdsOfCondition) {
      texts.push_back(ids_condition(
          std::span(ids).subspan(i, std::min<std::size_t>(kIdsOfCondition, ids.size() - i))));
    }
  }
  for (const std::string& text : texts) {
    if (!excludes || request.k < kMaxK) {
      search_pieces(queries, k, text, hits);
      continue;
    }
    for (std::int64_t q = 0; q < queries.count; ++q) {  // there is no room for one more
      Hits one(1);
      search_pieces(queries.slice(q, q + 1), k,
                    both_conditions(id_condition("!=", request.exclude[std::size_t(q)]), text),
                    one);
      auto& of_query = hits[std::size_t(q)];
      of_query.insert(of_query.end(), one[0].begin(), one[0].end());
    }
  }
  for (std::size_t q = 0; q < hits.size(); ++q) {
    std::erase_if(hits[q], [&](const CollectionHit& hit) {
      return (request.radius && hit.distance > *request.radius) ||
             (excludes && request.exclude[q] >= 0 && hit.id == request.exclude[q]);
    });
    std::sort(hits[q].begin(), hits[q].end(), by_distance_then_id);
    if (std::int64_t(hits[q].size()) > request.k) hits[q].resize(std::size_t(request.k));
  }
  return hits;
}

}  // namespace hh::retrieval
