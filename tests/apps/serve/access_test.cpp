// SPDX-License-Identifier: Apache-2.0
// Which names a server for its own machine answers to, and whose pages may change its index.
#include "apps/serve/access.h"

#include <catch2/catch.hpp>

#include "apps/serve/answer.h"

namespace hh::apps {
namespace {

int site_status(const std::string& host) {
  try {
    check_site({}, {.host = host});
    return 200;
  } catch (const ApiError& error) {
    return error.status;
  }
}

int write_status(const std::string& host, const std::string& origin) {
  try {
    check_write({}, {.host = host, .origin = origin});
    return 200;
  } catch (const ApiError& error) {
    return error.status;
  }
}

TEST_CASE("only what can mean nothing but this machine is a local name", "[access]") {
  for (const char* host :
       {"localhost", "localhost:8080", "LOCALHOST:8080", "LocalHost.", "localhost.:8080",
        "127.0.0.1", "127.0.0.1:8080", "127.0.0.1.", "127.0.0.1.:8080", "127.8.9.10:1", "[::1]",
        "[::1]:8080", "[0:0:0:0:0:0:0:1]:8080", ""}) {
    CAPTURE(host);
    CHECK(site_status(host) == 200);
  }
  for (const char* host : {"127.evil.example",
                           "127.evil.example:8080",
                           "127.0.0.1.evil.example:8080",
                           "localhost.evil.example",
                           "evil.example",
                           "evil.localhost.example",
                           "0x7f.1",
                           "0x7f.0.0.1",
                           "127.1",
                           "2130706433",
                           "0177.0.0.1",
                           "127.0.0.1..",
                           "localhost..",
                           "127.0.0.1:80:90",
                           "::1",
                           "[::1",
                           "[::1]evil.example",
                           "[::2]",
                           "[::ffff:10.0.0.1]",
                           "localhost:80x",
                           "x@localhost",
                           "10.0.0.1",
                           "128.0.0.1",
                           "127.",
                           "127.0.0",
                           ".",
                           ":8080",
                           "local host",
                           " "}) {
    CAPTURE(host);
    CHECK(site_status(host) == 403);
  }
  // Over the network any name is right: the server can't know its own.
  CHECK_NOTHROW(check_site({.loopback = false}, {.host = "evil.example"}));
}

TEST_CASE("changes come from the server's own page, however its name is written", "[access]") {
  struct Case {
    const char *host, *origin;
    int status;
  };
  for (const Case& c : {Case{"localhost:8080", "", 200},
                        {"localhost:8080", "http://localhost:8080", 200},
                        {"LOCALHOST.:8080", "http://localhost:8080", 200},
                        {"localhost:8080", "http://LocalHost.:8080", 200},
                        {"127.0.0.1", "http://127.0.0.1:80", 200},
                        {"localhost", "https://localhost", 200},
                        {"localhost:443", "https://localhost", 200},
                        {"[::1]:8080", "http://[::1]:8080", 200},
                        {"localhost:8080", "http://localhost:8081", 403},
                        {"localhost:8080", "http://localhost", 403},
                        {"localhost:8080", "http://127.0.0.1:8080", 403},
                        {"localhost:8080", "http://localhost.evil.example:8080", 403},
                        {"localhost:8080", "http://evil.example", 403},
                        {"localhost:8080", "null", 403},
                        {"localhost:8080", "file://", 403},
                        {"localhost:8080", "localhost:8080", 403},
                        {"", "http://", 403},
                        {"", "http://evil.example", 403}}) {
    CAPTURE(c.host, c.origin);
    CHECK(write_status(c.host, c.origin) == c.status);
  }
}

}  // namespace
}  // namespace hh::apps
