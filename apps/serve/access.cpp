// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/access.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

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

/// What "Basic" has behind it; empty where it isn't base64.
std::string from_base64(std::string_view text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  unsigned bits = 0, have = 0;
  for (const char c : text.substr(0, text.find('='))) {
    const std::size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) return "";
    bits = (bits << 6 | unsigned(digit)) & 0xffff;
    have += 6;
    if (have >= 8) bytes += char(bits >> (have -= 8) & 255);
  }
  return bytes;
}

/// The token of an Authorization header; empty: there is none.
std::string token_of(const std::string& authorization) {
  constexpr std::string_view kBearer = "Bearer ", kBasic = "Basic ";
  if (authorization.starts_with(kBearer)) return authorization.substr(kBearer.size());
  if (!authorization.starts_with(kBasic)) return "";
  const std::string both = from_base64(std::string_view(authorization).substr(kBasic.size()));
  const std::size_t colon = both.find(':');
  return colon == std::string::npos ? "" : both.substr(colon + 1);
}

/// As browsers compare it: without capitals, the root's dot and the port that the scheme implies.
/// Nothing where it is no "name[:port]".
struct Site {
  std::string name, port;
  bool operator==(const Site&) const = default;
};

std::optional<Site> site_of(std::string_view authority, const std::string& usual_port) {
  const std::size_t bracket = authority.starts_with('[') ? authority.find(']') : 0;
  if (bracket == std::string_view::npos) return std::nullopt;
  const std::size_t colon = std::min(authority.find(':', bracket), authority.size());
  std::string port(authority.substr(std::min(colon + 1, authority.size())));
  std::string name(authority.substr(0, colon));
  for (char& c : name) c = char(std::tolower(static_cast<unsigned char>(c)));
  if (name.size() > 1 && name.ends_with('.')) name.pop_back();
  constexpr const char* kNameCharacters = "abcdefghijklmnopqrstuvwxyz0123456789-._~%[]:";
  if (name.empty() || name.find_first_not_of(kNameCharacters) != std::string::npos ||
      port.find_first_not_of("0123456789") != std::string::npos) {
    return std::nullopt;
  }
  constexpr int kLargestPort = 65535;
  int number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (!port.empty() && (error != std::errc() || number > kLargestPort)) return std::nullopt;
  return Site{name, port.empty() ? usual_port : port};
}

/// A page is this server's if its address has the name and port by which the request asks.
bool own_page(const std::string& origin, const std::string& host) {
  for (const auto& [scheme, port] : {std::pair{"http://", "80"}, std::pair{"https://", "443"}}) {
    if (!origin.starts_with(scheme)) continue;
    const auto page = site_of(std::string_view(origin).substr(std::strlen(scheme)), port);
    return page.has_value() && page == site_of(host, port);
  }
  return false;
}

}  // namespace

bool is_own_machine(const std::string& name) {
  if (name == "localhost") return true;
  // Not by how it begins: 127.evil.example is a name that its owner can lead anywhere.
  in_addr v4{};
  if (::inet_pton(AF_INET, name.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  if (!name.starts_with('[') || !name.ends_with(']')) return false;
  in6_addr v6{};
  return ::inet_pton(AF_INET6, name.substr(1, name.size() - 2).c_str(), &v6) == 1 &&
         IN6_IS_ADDR_LOOPBACK(&v6);
}

void check_site(const AccessRules& rules, const HttpRequest& request) {
  // A page from elsewhere that a browser on this machine shows can send requests here, and, once
  // its name is made to mean this machine, even read the answers.
  if (!rules.loopback || request.host.empty()) return;  // HTTP/1.0, which no browser speaks
  const auto site = site_of(request.host, "80");
  if (!site || !is_own_machine(site->name)) {
    throw ApiError{403, "this server is for its own machine; ask for it as localhost"};
  }
}

void check_read(const AccessRules& rules, const HttpRequest& request) {
  if (rules.read_token.empty()) return;
  const std::string token = token_of(request.authorization);
  const bool reads = same_secret(token, rules.read_token);
  const bool writes = !rules.token.empty() && same_secret(token, rules.token);
  if (!token.empty() && (reads || writes)) return;
  throw ApiError{401,
                 "reading needs a token: Authorization: Bearer TOKEN, or TOKEN as the password"};
}

const char* changes_take(const AccessRules& rules) {
  if (rules.read_only || (rules.token.empty() && !rules.loopback)) return "refused";
  return rules.token.empty() ? "free" : "token";
}

void check_write(const AccessRules& rules, const HttpRequest& request) {
  if (rules.read_only)
    throw ApiError{403,
                   "the server was started with --read-only: start it without to add or delete"};
  if (!request.origin.empty() && !own_page(request.origin, request.host)) {
    throw ApiError{403, "changes are taken from this server's own page only"};
  }
  if (rules.token.empty()) {
    if (rules.loopback) return;
    throw ApiError{403, "changes over the network need a token; start the server with --token"};
  }
  if (request.authorization.empty()) {
    throw ApiError{401, "changes need the token: Authorization: Bearer TOKEN"};
  }
  if (!same_secret(token_of(request.authorization), rules.token)) {
    throw ApiError{401, "that isn't the token that the server was started with"};
  }
}

}  // namespace hh::apps
