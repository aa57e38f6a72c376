// SPDX-License-Identifier: Apache-2.0
// Lists of items: page by page, or by chance.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "apps/serve/http.h"
#include "apps/serve/served.h"

namespace hh::apps {

/// Values after, limit and filter: the items with the next larger ids, {"items", "next", "count"}. `next`
/// is what the next page comes after, or null; `count` that of all that pass. Throws std::invalid_argument.
nlohmann::json list_items(const ServedItems& served, const HttpRequest& request);

/// Values limit, filter and seed: that many different items, in an order by chance.
nlohmann::json random_items(const ServedItems& served, const HttpRequest& request);

}  // namespace hh::apps
