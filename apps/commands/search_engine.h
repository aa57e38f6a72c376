// SPDX-License-Identifier: Apache-2.0
// `hybridhash search` in a collection of another server.
#pragma once
#include <memory>
#include <vector>

#include "apps/commands/search_queries.h"
#include "apps/report/searched.h"
#include "retrieval/engines/open_collection.h"

namespace hh::apps {

/// What was found in a collection: an answer whose rows are numbers of hits, and their items, which are
/// fetched when they are asked for.
class FoundInCollection final : public Searched {
 public:
  /// Keeps the reference.
  FoundInCollection(retrieval::Collection& collection, std::string name,
                    const retrieval::CollectionAbout& about);

  /// The items of those ids as queries. Throws std::invalid_argument for unknown ones.
  void add_items(const std::vector<std::int64_t>& ids, Queries& queries) const;
  /// Throws std::invalid_argument for what the server can't do.
  void search(const Queries& queries, bool of_items, const retrieval::SearchRequest& request);
  const retrieval::SearchAnswer& answer() const { return answer_; }

  std::string place() const override { return name_; }
  const char* kind() const override { return "collection"; }
  std::int64_t count() const override;
  std::string method(const retrieval::SearchAnswer&) const override { return server_; }
  std::int64_t id(std::int64_t row) const override { return ids_[std::size_t(row)]; }
  retrieval::CollectionItem item(std::int64_t row) const override;

 private:
  retrieval::Collection& collection_;
  std::string name_, server_;
  retrieval::SearchAnswer answer_;
  std::vector<std::int64_t> ids_;  // of all hits
  mutable std::int64_t count_ = -1;
  mutable std::int64_t fetched_from_ = 0;  // the row of the first of these
  mutable std::vector<retrieval::CollectionItem> fetched_;
};

}  // namespace hh::apps
