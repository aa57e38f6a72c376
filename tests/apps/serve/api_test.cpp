// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/api.h"

#include <catch2/catch.hpp>
#include <latch>
#include <nlohmann/json.hpp>
#include <thread>

#include "apps/serve/served_index.h"
#include "tests/apps/serve/small_index.h"

namespace hh::apps {
namespace {

TEST_CASE("a search that waits too long for its turn gets 503 and when to come back", "[api]") {
  const testing::SmallIndex made;
  ServedIndex index(made.path(), 1);
  Compute compute(1, .05);
  Api api(index, nullptr, compute, {});
  const HttpRequest request{.method = "GET", .path = "/api/search", .params = {{"code", "0182"}}};
  std::latch started(1), release(1);
  std::thread holder([&] {
    compute.on_one_thread([&] {
      started.count_down();
      release.wait();
    });
  });
  started.wait();
  const auto busy = api.before_body(request);
  release.count_down();
  holder.join();
  REQUIRE(busy);
  CHECK(busy->status == 503);
  CHECK(nlohmann::json::parse(busy->body).contains("error"));
  CHECK(std::count(busy->headers.begin(), busy->headers.end(),
                   std::pair<std::string, std::string>{"Retry-After", "1"}) == 1);
  const auto answer = api.before_body(request);
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(nlohmann::json::parse(answer->body).at("results")[0].at("id") == 10);
}

}  // namespace
}  // namespace hh::apps
