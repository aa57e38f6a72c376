// SPDX-License-Identifier: Apache-2.0
// Who may ask the server, and who may change its index.
#pragma once
#include <string>

#include "apps/serve/http.h"

namespace hh::apps {

struct AccessRules {
  std::string token;       // changes need it; empty: none
  std::string read_token;  // everything else needs this one or that; empty: nothing is needed
  bool loopback = true;    // only this machine reaches the server
  bool read_only = false;  // no changes at all
};

/// Whether a host, written in small letters, can mean nothing but this machine: localhost, or a
/// loopback address (IPv6 in brackets). Other names mean what their owners make them mean.
bool is_own_machine(const std::string& name);

/// Throws ApiError: the request comes from another site's page.
void check_site(const AccessRules& rules, const HttpRequest& request);
/// Throws ApiError: the request may not read. A token comes as "Bearer TOKEN", or, as browsers ask their
/// users for it, as the password of "Basic".
void check_read(const AccessRules& rules, const HttpRequest& request);
/// What changes take: "free", "token", or "refused" for all.
const char* changes_take(const AccessRules& rules);
/// Throws ApiError: the request may not change anything.
void check_write(const AccessRules& rules, const HttpRequest& request);

}  // namespace hh::apps
