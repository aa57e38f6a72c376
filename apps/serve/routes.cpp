// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/routes.h"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace hh::apps {
namespace {

constexpr std::string_view kVersion = "/api/v1/", kOld = "/api/", kId = "{id}";

std::string_view first_segment(std::string_view path) { return path.substr(0, path.find('/')); }

std::int64_t number_in(std::string_view text) {
  std::int64_t id = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  return error == std::errc() && end == text.data() + text.size() ? id : -1;
}

bool fits(std::string_view path, std::string_view pattern) {
  while (true) {
    const std::string_view asked = first_segment(path), wanted = first_segment(pattern);
    if (wanted == kId ? number_in(asked) < 0 : asked != wanted) return false;
    const bool last = asked.size() == path.size();
    if (last != (wanted.size() == pattern.size())) return false;
    if (last) return true;
    path.remove_prefix(asked.size() + 1);
    pattern.remove_prefix(wanted.size() + 1);
  }
}

std::string in_first_version(const std::string& path) {
  if (!path.starts_with(kOld) || path.starts_with(kVersion)) return path;
  return std::string(kVersion) + path.substr(kOld.size());
}

}  // namespace

const Method* Route::method(const std::string& asked) const {
  const auto found = std::find_if(methods.begin(), methods.end(),
                                  [&](const Method& m) { return m.name == asked; });
  return found == methods.end() ? nullptr : &*found;
}

const std::vector<Route>& routes() {
  static const std::vector<Route> kRoutes{
      {"/", "page", {{"GET", {}}}},
      {"/page.css", "page", {{"GET", {}}}},
      {"/page.js", "page", {{"GET", {}}}},
      {"/healthz", "/healthz", {{"GET", {}}}},
      {"/readyz", "/readyz", {{"GET", {}}}},
      {"/metrics", "/metrics", {{"GET", {}}}},
      {"/api/v1/openapi.json", "/api/openapi.json", {{"GET", {}}}},
      {"/api/v1/info", "/api/info", {{"GET", {}}}},
      {"/api/v1/encode", "/api/encode", {{"POST", {}}}},
      {"/api/v1/search",
       "/api/search",
       {{"GET", {"k", "radius", "rerank", "filter", "label", "id", "code"}},
        {"POST", {"k", "radius", "rerank", "filter", "label"}}}},
      {"/api/v1/search/batch", "/api/search/batch", {{"POST", {}}}},
      {"/api/v1/items",
       "/api/items",
       {{"GET", {"after", "limit", "filter"}},
        {"POST", {"name", "label", "metadata", "id", "replace"}}}},
      {"/api/v1/items/batch", "/api/items/batch", {{"POST", {}}}},
      {"/api/v1/items/random", "/api/items/random", {{"GET", {"limit", "filter", "seed"}}}},
      {"/api/v1/items/{id}", "/api/items/N", {{"GET", {}}, {"DELETE", {}}}},
      {"/api/v1/items/{id}/image", "/api/items/N/image", {{"GET", {"side"}}}},
  };
  return kRoutes;
}

const Route& route_of(const std::string& path) {
  static const Route kNone;
  const std::string wanted = in_first_version(path);
  const auto found = std::find_if(routes().begin(), routes().end(),
                                  [&](const Route& route) { return fits(wanted, route.path); });
  return found == routes().end() ? kNone : *found;
}

std::int64_t id_of(const std::string& path) {
  constexpr std::string_view kItems = "/api/v1/items/";
  const std::string wanted = in_first_version(path);
  if (!wanted.starts_with(kItems)) return -1;
  return number_in(first_segment(std::string_view(wanted).substr(kItems.size())));
}

}  // namespace hh::apps
