// SPDX-License-Identifier: Apache-2.0
// A page that shows what searches found: query, code, results with distance and class. One HTML
// file without scripts that loads nothing from elsewhere; light and dark, from a phone's width up.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "apps/report/thumbnail.h"

namespace hh::apps {

struct GalleryItem {
  std::string name;   // path, or whatever else it is called
  std::string label;  // names of its classes, or empty
  std::string code;   // "0110...", bit 0 first
  Thumbnail picture;
};

struct GalleryResult {
  GalleryItem item;
  std::int64_t id = 0;
  double distance = 0;
  std::optional<bool> same_class;  // as the query; unknown without labels
};

struct GalleryQuery {
  GalleryItem item;
  std::vector<GalleryResult> results;

  /// Share of results of the query's class, if all are known and there are any.
  std::optional<double> precision() const;
};

struct Gallery {
  std::string title;
  std::vector<std::string> facts;  // a line each, below the title
  std::vector<GalleryQuery> queries;
};

std::string to_html(const Gallery& gallery);

}  // namespace hh::apps
