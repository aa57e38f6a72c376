// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/api_items.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <utility>

#include "apps/serve/answer.h"
#include "apps/serve/api_search.h"
#include "kernels/core/philox.h"

namespace hh::apps {
namespace {

using nlohmann::json;

constexpr std::int64_t kMostItems = 1000, kUsualItems = 100;

std::int64_t value(const HttpRequest& request, const char* name, std::int64_t least,
                   std::int64_t most, std::int64_t otherwise) {
  const auto text = request.param(name);
  return text ? number(name, *text, least, most) : otherwise;
}

}  // namespace

json list_items(const retrieval::Index& index, const HttpRequest& request) {
  const std::int64_t limit = value(request, "limit", 1, kMostItems, kUsualItems);
  const std::int64_t after =
      value(request, "after", 0, std::numeric_limits<std::int64_t>::max(), -1);
  const retrieval::RowMask mask = index.select(checked_filters(request.all("filter")));
  std::vector<std::pair<std::int64_t, std::int64_t>> found;  // ids and rows
  for (std::int64_t row = 0; row < index.rows(); ++row) {
    const std::int64_t id = index.ids()[std::size_t(row)];
    if (id > after && mask.test(row)) found.emplace_back(id, row);
  }
  const auto shown = std::min(found.size(), std::size_t(limit));
  std::partial_sort(found.begin(), found.begin() + std::ptrdiff_t(shown), found.end());
  json items = json::array();
  for (std::size_t i = 0; i < shown; ++i) {
    items.push_back(item_json(index, index.item(found[i].second)));
  }
  return {{"items", items},
          {"next", shown < found.size() ? json(found[shown - 1].first) : json(nullptr)},
          {"count", mask.count()}};
}

json random_items(const retrieval::Index& index, const HttpRequest& request) {
  const auto limit = std::size_t(value(request, "limit", 1, kMostItems, kUsualItems));
  const std::int64_t seed =
      request.param("seed") ? value(request, "seed", 0, std::numeric_limits<std::int64_t>::max(), 0)
                            : std::int64_t(std::random_device()());
  const Philox random(std::uint64_t(seed), RandomPurpose::kShuffle);
  const retrieval::RowMask mask = index.select(checked_filters(request.all("filter")));
  std::vector<std::int64_t> rows;
  for (std::int64_t row = 0; row < index.rows(); ++row) {
    if (mask.test(row)) rows.push_back(row);
  }
  json items = json::array();
  for (std::size_t i = 0; i < std::min(limit, rows.size()); ++i) {
    const std::size_t left = std::min(rows.size() - i, std::size_t{0xffffffff});
    std::swap(rows[i], rows[i + random.below(i, std::uint32_t(left))]);
    items.push_back(item_json(index, index.item(rows[i])));
  }
  return {{"items", items}, {"count", rows.size()}};
}

}  // namespace hh::apps
