// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/api_items.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "apps/serve/answer.h"
#include "apps/serve/api_search.h"

namespace hh::apps {
namespace {

using nlohmann::json;

constexpr std::int64_t kMostItems = 1000, kUsualItems = 100;

std::int64_t value(const HttpRequest& request, const char* name, std::int64_t least,
                   std::int64_t most, std::int64_t otherwise) {
  const auto text = request.param(name);
  return text ? number(name, *text, least, most) : otherwise;
}

json items_json(const ServedItems& served, const ItemPage& page) {
  json items = json::array();
  for (const ServedItem& item : page.items) items.push_back(item_json(served, item));
  return items;
}

}  // namespace

json list_items(const ServedItems& served, const HttpRequest& request) {
  const std::int64_t limit = value(request, "limit", 1, kMostItems, kUsualItems);
  const std::int64_t after =
      value(request, "after", 0, std::numeric_limits<std::int64_t>::max(), -1);
  const ItemPage page = served.list(after, limit, checked_filters(request.all("filter")));
  return {{"items", items_json(served, page)},
          {"next", page.more ? json(page.items.back().id) : json(nullptr)},
          {"count", page.count}};
}

json random_items(const ServedItems& served, const HttpRequest& request) {
  const std::int64_t limit = value(request, "limit", 1, kMostItems, kUsualItems);
  const std::int64_t seed =
      request.param("seed") ? value(request, "seed", 0, std::numeric_limits<std::int64_t>::max(), 0)
                            : std::int64_t(std::random_device()());
  const ItemPage page =
      served.random(limit, std::uint64_t(seed), checked_filters(request.all("filter")));
  return {{"items", items_json(served, page)}, {"count", page.count}};
}

}  // namespace hh::apps
