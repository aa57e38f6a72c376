// SPDX-License-Identifier: Apache-2.0
// What there is on the server: addresses, how each may be asked, and which values it takes. Every address of the
// API stands below /api/v1/ and, as before there were versions, below /api/. openapi.json describes the
// same for programs; a test holds the two against each other.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace hh::apps {

struct Method {
  std::string name;                 // GET, POST, DELETE
  std::vector<std::string> values;  // that a request may bring, as parameters or in a form
};

struct Route {
  std::string path;  // "/api/v1/items/{id}"; empty: there is nothing
  std::string name;  // in the metrics: "/api/items/N"
  std::vector<Method> methods;

  const Method* method(const std::string& asked) const;
};

const std::vector<Route>& routes();
/// That of a request's path, by whichever of its names; without a path where there is none.
const Route& route_of(const std::string& path);
/// The number in place of {id}; -1 where there is none.
std::int64_t id_of(const std::string& path);

}  // namespace hh::apps
