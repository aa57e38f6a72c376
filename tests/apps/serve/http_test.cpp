// SPDX-License-Identifier: Apache-2.0
// HttpServer with an application that fails in all ways: the process lives on.
#include "apps/serve/http.h"

#include <httplib.h>
#include <sys/resource.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <fstream>
#include <new>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

#include "engine/device/backend.h"

namespace hh::apps {
namespace {

using Catch::Contains;

/// Throws what the path names, before the body, with it, or after the answer.
class Failing final : public HttpApplication {
 public:
  std::optional<HttpResponse> before_body(const HttpRequest& request) override {
    if (request.method == "POST") return std::nullopt;
    return answer(request.path);
  }
  HttpResponse with_body(const HttpRequest& request) override { return answer(request.path); }
  void answered(const HttpAnswered&) override {
    if (fail_afterwards_.exchange(false)) throw std::runtime_error("afterwards");
  }

 private:
  HttpResponse answer(const std::string& path) {
    if (path == "/api/alloc") throw std::bad_alloc();
    if (path == "/api/memory") throw OutOfMemory("no room for 5 bytes");
    if (path == "/api/error") throw std::runtime_error("something else");
    if (path == "/api/odd") throw 42;
    fail_afterwards_ = path == "/api/afterwards";
    return {.body = "{}\n"};
  }
  std::atomic<bool> fail_afterwards_ = false;
};

TEST_CASE("whatever an answer throws is one line of JSON, and the server goes on", "[http]") {
  Failing application;
  // On a busy machine the connections of earlier requests may still be closing.
  HttpServer server(application, {.concurrent = 32});
  const int port = server.bind("127.0.0.1", 0);
  std::atomic<bool> stop = false;
  std::jthread running([&] { server.run([&] { return stop.load(); }); });
  httplib::Client client("127.0.0.1", port);
  const auto check = [](const httplib::Result& result, int status, const char* text) {
    REQUIRE(result);
    CAPTURE(result->body);
    CHECK(result->status == status);
    CHECK(result->body.back() == '\n');
    const auto json = nlohmann::json::parse(result->body);
    if (status != 200) CHECK_THAT(json.at("error").get<std::string>(), Contains(text));
    CHECK(result->has_header("Retry-After") == (status == 503));
  };
  for (int round = 0; round < 3; ++round) {
    for (const bool body : {false, true}) {
      const auto ask = [&](const std::string& path) {
        return body ? client.Post(path, "x", "text/plain") : client.Get(path);
      };
      check(ask("/api/alloc"), 503, "out of memory");
      check(ask("/api/memory"), 503, "no room for 5 bytes");
      check(ask("/api/error"), 500, "something else");
      check(ask("/api/odd"), 500, "error of the server itself");
      check(ask("/api/afterwards"), 200, "");
      check(ask("/api/fine"), 200, "");
    }
  }
  stop = true;
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("more threads than the system has room for are an error, not the end", "[http]") {
  Failing application;
  HttpServer server(application, {.concurrent = 1024});
  server.bind("127.0.0.1", 0);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_AS, &before) == 0);
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  rlimit tight = before;
  tight.rlim_cur = pages * 4096 + (std::size_t{512} << 20);  // some sixty stacks of 8 MiB
  REQUIRE(::setrlimit(RLIMIT_AS, &tight) == 0);
  std::string what;
  try {
    server.run([] { return true; });
  } catch (const std::runtime_error& error) {
    what = error.what();
  }
  ::setrlimit(RLIMIT_AS, &before);
  CHECK_THAT(what, Contains("--max-concurrent"));
}
#endif

}  // namespace
}  // namespace hh::apps
