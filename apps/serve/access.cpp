// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/access.h"

#include "apps/serve/answer.h"

namespace hh::apps {
namespace {

/// In a time that tells nothing of where they differ.
bool same_secret(const std::string& a, const std::string& b) {
  unsigned different = a.size() != b.size();
  for (std::size_t i = 0; i < a.size(); ++i) {
    different |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i % b.size()]);
  }
  return different == 0;
}

/// host[:port] without the port.
std::string host_name(const std::string& host) {
  const std::size_t colon = host.rfind(':');
  return colon != std::string::npos && host.find(']', colon) == std::string::npos
             ? host.substr(0, colon)
             : host;
}

}  // namespace

void check_site(const AccessRules& rules, const HttpRequest& request) {
  // A page from elsewhere that a browser on this machine shows can send requests here, and, once
  // its name is made to mean this machine, even read the answers.
  if (!rules.loopback) return;
  const std::string host = host_name(request.host);
  if (host != "localhost" && host != "[::1]" && !host.starts_with("127.") && !host.empty()) {
    throw ApiError{403, "this server is for its own machine; ask for it as localhost"};
  }
}

void check_write(const AccessRules& rules, const HttpRequest& request) {
  if (rules.read_only) throw ApiError{403, "the server was started with --read-only"};
  if (!request.origin.empty() && request.origin != "http://" + request.host &&
      request.origin != "https://" + request.host) {
    throw ApiError{403, "changes are taken from this server's own page only"};
  }
  if (rules.token.empty()) {
    if (rules.loopback) return;
    throw ApiError{403, "changes over the network need a token; start the server with --token"};
  }
  if (request.authorization.empty()) {
    throw ApiError{401, "changes need the token: Authorization: Bearer TOKEN"};
  }
  if (!same_secret(request.authorization, "Bearer " + rules.token)) {
    throw ApiError{401, "that isn't the token"};
  }
}

}  // namespace hh::apps
