// SPDX-License-Identifier: Apache-2.0
// openapi.json against the routes: what is described is there, what is there is described, with the same
// parameters.
#include <algorithm>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/serve/page.h"
#include "apps/serve/routes.h"

namespace hh::apps {
namespace {

using nlohmann::json;

/// Follows "$ref": "#/components/...".
const json& resolved(const json& document, const json& value) {
  if (!value.contains("$ref")) return value;
  const std::string reference = value.at("$ref");
  REQUIRE(reference.starts_with("#"));
  return document.at(json::json_pointer(reference.substr(1)));
}

std::set<std::string> parameters(const json& document, const json& operation) {
  std::set<std::string> names;
  if (!operation.contains("parameters")) return names;
  for (const json& reference : operation.at("parameters")) {
    const json& parameter = resolved(document, reference);
    if (parameter.at("in") == "query") names.insert(parameter.at("name"));
  }
  return names;
}

/// Each reference leads somewhere.
void check_references(const json& document, const json& value) {
  if (value.is_object()) CHECK_NOTHROW(resolved(document, value));
  if (!value.is_structured()) return;
  for (const json& part : value) check_references(document, part);
}

TEST_CASE("the description of the API is that of its routes", "[serve][openapi]") {
  const json document = json::parse(kOpenApi);
  CHECK(document.at("openapi") == "3.1.0");
  check_references(document, document);
  std::set<std::string> described, there;
  for (const auto& [path, operations] : document.at("paths").items()) {
    INFO(path);
    const std::size_t id = path.find("{id}");
    std::string asked = path;
    if (id != std::string::npos) asked.replace(id, 4, "17");
    const Route& route = route_of(asked);
    REQUIRE(route.path == path);
    if (id != std::string::npos) CHECK(id_of(asked) == 17);
    for (const auto& [name, operation] : operations.items()) {
      if (name == "parameters") continue;
      std::string method = name;
      std::transform(method.begin(), method.end(), method.begin(), ::toupper);
      INFO(method);
      described.insert(method + " " + path);
      REQUIRE(route.method(method) != nullptr);
      const auto& values = route.method(method)->values;
      CHECK(parameters(document, operation) == std::set<std::string>(values.begin(), values.end()));
      CHECK(operation.contains("summary"));
      CHECK(operation.contains("responses"));
    }
  }
  for (const Route& route : routes()) {
    if (route.name == "page") continue;
    for (const Method& method : route.methods) there.insert(method.name + " " + route.path);
  }
  CHECK(described == there);
}

TEST_CASE("addresses are known by both names, and nothing else is one", "[serve][openapi]") {
  CHECK(route_of("/api/items/7").path == "/api/v1/items/{id}");
  CHECK(route_of("/api/v1/items/7/image").path == "/api/v1/items/{id}/image");
  CHECK(route_of("/api/items/random").path == "/api/v1/items/random");
  CHECK(id_of("/api/items/7/image") == 7);
  for (const char* path : {"",
                           "/x",
                           "/api",
                           "/api/",
                           "/api/v1",
                           "/api/v1/",
                           "/api/v2/info",
                           "/api/v1/v1/info",
                           "/api/items/",
                           "/api/items/x",
                           "/api/items/-1",
                           "/api/items/7x",
                           "/api/items/7/",
                           "/api/items/7/image/",
                           "/api/items/99999999999999999999",
                           "/healthz/",
                           "/api/healthz",
                           "/api/v1/items/{id}",
                           "//",
                           "/api//info"}) {
    INFO(path);
    CHECK(route_of(path).path.empty());
  }
}

}  // namespace
}  // namespace hh::apps
