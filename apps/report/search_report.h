// SPDX-License-Identifier: Apache-2.0
// What a search found, as a table for people, as JSON, as a page with pictures, and as arrays.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/report/gallery.h"
#include "apps/report/searched.h"
#include "apps/report/thumbnail.h"
#include "retrieval/codes/code_file.h"
#include "retrieval/search/index_search.h"

namespace hh::apps {

class SearchReport {
 public:
  /// Keeps the references. Warns when the queries' classes aren't those of what was searched:
  /// results are not judged then.
  SearchReport(const Searched& searched, const retrieval::CodeSet& queries,
               const retrieval::SearchRequest& request, const retrieval::SearchAnswer& answer);

  void print_table() const;
  nlohmann::ordered_json to_json(bool with_results) const;
  /// With `queries_are_here` the queries' relative paths start from the working directory.
  Gallery gallery(ThumbnailSource pictures, bool queries_are_here) const;

  /// .npy files of ids, int64 [queries, k], and of distances, int32 (of outputs: float32), with -1
  /// where there are fewer. An empty path: none. Throws std::invalid_argument for a search within a
  /// radius.
  void write_arrays(const std::string& ids_path, const std::string& distances_path) const;

 private:
  std::string method_text() const;
  std::string labels_text(const std::vector<int>& labels) const;
  std::string label_of_query(std::int64_t q) const;
  std::optional<bool> same_class(std::int64_t q, const std::vector<int>& labels) const;
  nlohmann::ordered_json choice_json() const;
  nlohmann::ordered_json query_json(std::int64_t q) const;
  void print_query(std::int64_t q) const;

  const Searched& searched_;
  const retrieval::CodeSet& queries_;
  const retrieval::SearchRequest& request_;
  const retrieval::SearchAnswer& answer_;
  bool comparable_ = false;
  std::vector<int>
      query_classes_;  // of what was searched, where both name them differently; -1: none
};

}  // namespace hh::apps
