// SPDX-License-Identifier: Apache-2.0
#include "apps/commands/search_engine.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <unordered_map>

#include "apps/terminal/elapsed.h"
#include "kernels/core/check.h"

namespace hh::apps {
using retrieval::CollectionHit, retrieval::CollectionItem, retrieval::CollectionRequest;

FoundInCollection::FoundInCollection(retrieval::Collection& collection, std::string name,
                                     const retrieval::CollectionAbout& about)
    : Searched(about),
      collection_(collection),
      name_(std::move(name)),
      server_(collection.server()) {}

void FoundInCollection::add_items(const std::vector<std::int64_t>& ids, Queries& queries) const {
  for (const std::int64_t id : ids) {
    // One by one: an id may come twice.
    const auto found = collection_.items(std::span(&id, 1));
    HH_REQUIRE(!found.empty(), name_ << ": there is no item with id " << id
                                     << " (hybridhash index pull lists them)");
    add_query(queries.set, id, found[0].code, found[0].description);
  }
}

void FoundInCollection::search(const Queries& queries, bool of_items,
                               const retrieval::SearchRequest& request) {
  const std::int64_t most = collection_.max_k();
  HH_REQUIRE(most == 0 || request.radius || request.k <= most,
             "-k " << request.k << ": " << server_ << " finds at most " << most
                   << " of a query; use a smaller -k, or search an index");
  CollectionRequest wanted{.k = request.k,
                           .radius = request.radius,
                           .filters = about().filters(request.filters),
                           .exclude = {}};
  if (request.radius) wanted.k = most > 0 ? most : std::numeric_limits<std::int32_t>::max();
  if (request.exclude_self && of_items) wanted.exclude = queries.set.ids;
  const auto start = std::chrono::steady_clock::now();
  const auto all = collection_.search(queries.set.codes, wanted);
  answer_ = {};
  answer_.seconds = seconds_since(start);
  ids_.clear();
  for (const std::vector<CollectionHit>& hits : all) {
    HH_REQUIRE(!request.radius || most == 0 || std::int64_t(hits.size()) < most,
               "--radius " << *request.radius << ": " << server_ << " finds at most " << most
                           << " of a query, and there may be more; use a smaller radius, or search "
                              "an index");
    auto& rows = answer_.hits.emplace_back();
    for (const CollectionHit& hit : hits) {
      rows.push_back({std::int64_t(ids_.size()), float(hit.distance)});
      ids_.push_back(hit.id);
    }
  }
  fetched_.clear();
}

std::int64_t FoundInCollection::count() const {
  if (count_ < 0) count_ = collection_.count({});
  return count_;
}

CollectionItem FoundInCollection::item(std::int64_t row) const {
  if (row < fetched_from_ || row >= fetched_from_ + std::int64_t(fetched_.size())) {
    // Reports go from hit to hit.
    constexpr std::size_t kAhead = 5000;
    const auto rest = std::span<const std::int64_t>(ids_).subspan(std::size_t(row));
    const auto some = rest.first(std::min(rest.size(), kAhead));
    std::vector<std::int64_t> wanted(some.begin(), some.end());
    std::sort(wanted.begin(), wanted.end());
    wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
    std::unordered_map<std::int64_t, CollectionItem> by_id;
    for (CollectionItem& item : collection_.items(wanted)) by_id[item.id] = std::move(item);
    fetched_.clear();
    fetched_from_ = row;
    for (const std::int64_t id : some) {
      const auto at = by_id.find(id);
      // One that has gone since it was found is known by its id alone.
      fetched_.push_back(at != by_id.end()
                             ? at->second
                             : CollectionItem{.id = id,
                                              .code = retrieval::PackedCodes(1, about().bits),
                                              .description = {}});
    }
  }
  return fetched_[std::size_t(row - fetched_from_)];
}

}  // namespace hh::apps
