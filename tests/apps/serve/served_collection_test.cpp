// SPDX-License-Identifier: Apache-2.0
// The API over a collection, beside the same over an index of the same items.
#include "apps/serve/served_collection.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <latch>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "apps/serve/api.h"
#include "apps/serve/served_index.h"
#include "engine/files/file_error.h"
#include "tests/support/memory_collection.h"
#include "tests/support/temporary_folder.h"

namespace hh::apps {
namespace {

using nlohmann::json;
using testing::MemoryCollection, testing::MemoryServer;

constexpr const char* kToken = "secret";

retrieval::ItemSet some_items(std::int64_t count) {
  retrieval::ItemSet items;
  items.set.codes = retrieval::PackedCodes(count, 16);
  items.set.classes = 3;
  items.set.class_names = {"cat", "dog", "cow"};
  items.set.model_hash = "0123456789abcdef";
  for (std::int64_t i = 0; i < count; ++i) {
    items.set.codes.row(i)[0] = std::uint64_t(i * 2654435761u) & 0xffff;
    items.set.ids.push_back(10 * i);
    items.set.names.push_back("p/" + std::to_string(i) + ".jpg");
    items.metadata.push_back(i % 2 == 0 ? R"({"year": 2020})" : "");
    const int label = int(i % 3);
    retrieval::append_labels(items.set.labels, 3, std::span(&label, 1));
  }
  return items;
}

/// An API over an index, and one over a collection of the same items.
struct Both {
  explicit Both(std::int64_t count = 60) {
    const retrieval::ItemSet items = some_items(count);
    retrieval::build_index(folder.path() / "x", items);
    MemoryCollection collection(server);
    auto about =
        retrieval::CollectionAbout::of(retrieval::read_index_manifest(folder.path() / "x"));
    about.push = {.source = 5, .generation = 1, .rows = count};
    collection.create(about);
    collection.put(items, about);
    index = std::make_unique<ServedIndex>(folder.path() / "x", 1);
    served = std::make_unique<ServedCollection>(
        [this] { return std::make_unique<MemoryCollection>(server); }, .2);
    const ApiOptions options{.access = {.token = kToken}};
    of_index = std::make_unique<Api>(*index, nullptr, compute, options);
    of_collection = std::make_unique<Api>(*served, nullptr, compute, options);
  }

  static HttpRequest get(const std::string& path,
                         std::multimap<std::string, std::string> params = {}) {
    return {.method = "GET", .path = path, .params = std::move(params)};
  }
  static json answer(Api& api, const HttpRequest& request, int status = 200) {
    auto response = api.before_body(request);
    if (!response) response = api.with_body(request);
    CAPTURE(request.path, response->body);
    CHECK(response->status == status);
    json value = json::parse(response->body, nullptr, false);
    for (const char* its_own : {"method", "search_seconds", "encode_seconds"}) {
      if (value.is_object()) value.erase(its_own);
    }
    return value;
  }
  json collection(const HttpRequest& request, int status = 200) {
    return answer(*of_collection, request, status);
  }

  testing::TemporaryFolder folder;
  std::shared_ptr<MemoryServer> server = std::make_shared<MemoryServer>();
  Compute compute{2, 1};
  std::unique_ptr<ServedIndex> index;
  std::unique_ptr<ServedCollection> served;
  std::unique_ptr<Api> of_index, of_collection;
};

HttpRequest with_token(std::string method, const std::string& path, const json& body = {}) {
  HttpRequest request{.method = std::move(method), .path = path, .params = {}};
  request.authorization = std::string("Bearer ") + kToken;
  if (!body.is_null()) {
    request.content_type = "application/json";
    request.body = body.dump();
  }
  return request;
}

TEST_CASE("a collection answers as the index of its items does", "[serve_collection]") {
  Both both;
  const std::vector<HttpRequest> requests{
      Both::get("/api/v1/search", {{"id", "30"}, {"k", "7"}}),
      Both::get("/api/v1/search", {{"code", "0180"}, {"label", "dog"}}),
      Both::get("/api/v1/search",
                {{"code", "0180"}, {"filter", "label=cat"}, {"filter", "id>=100"}}),
      Both::get("/api/v1/search", {{"code", "0180"}, {"radius", "6"}, {"k", "3"}}),
      Both::get("/api/v1/items", {{"after", "70"}, {"limit", "5"}}),
      Both::get("/api/v1/items", {{"after", "70"}, {"limit", "50"}, {"filter", "label!=cow"}}),
      Both::get("/api/v1/items", {{"after", "590"}}),
      Both::get("/api/v1/items/110"),
      Both::get("/api/v1/info"),
  };
  for (const HttpRequest& request : requests) {
    CAPTURE(request.path, request.params);
    const json expected = Both::answer(*both.of_index, request);
    CHECK(both.collection(request) == expected);
  }
  for (const HttpRequest& request :
       {Both::get("/api/v1/search", {{"id", "31"}}), Both::get("/api/v1/items/31")}) {
    const json expected = Both::answer(*both.of_index, request, 404);
    CHECK(both.collection(request, 404) == expected);
  }
  const json batch{{"queries", {{{"id", 30}}, {{"code", "0180"}}, {{"id", 31}}, {{"code", "xy"}}}},
                   {"k", 4}};
  const HttpRequest many = with_token("POST", "/api/v1/search/batch", batch);
  CHECK(both.collection(many) == Both::answer(*both.of_index, many));
}

TEST_CASE("what a collection can't do is refused", "[serve_collection]") {
  Both both;
  CHECK(both.collection(Both::get("/api/v1/search", {{"id", "30"}, {"rerank", "10"}}), 400)
            .dump()
            .find("re-ranking") != std::string::npos);
  both.collection(Both::get("/api/v1/search", {{"id", "30"}, {"filter", "label=horse"}}), 400);
  const auto connect = [] {
    return std::make_unique<MemoryCollection>(std::make_shared<MemoryServer>());
  };
  CHECK_THROWS_WITH(ServedCollection(connect, 1), Catch::Matchers::Contains("index push"));
}

TEST_CASE("items are added to a collection and deleted", "[serve_collection]") {
  Both both(4);
  const json entries{
      {"items", {{{"code", "ffff"}, {"label", "cow"}}, {{"code", "fffe"}, {"name", "b"}}}},
      {"model_hash", "0123456789abcdef"}};
  const HttpRequest add = with_token("POST", "/api/v1/items/batch", entries);
  const json added = both.collection(add, 201);
  CHECK(added["added"][0]["id"] == 31);
  CHECK(added["added"][1]["id"] == 32);
  CHECK(added == Both::answer(*both.of_index, add, 201));
  REQUIRE(both.server->items.size() == 6);
  CHECK(both.server->items.at(31).description.labels == std::vector<int>{2});
  CHECK(both.server->items.at(32).description.path == "b");
  CHECK(both.server->about->next_id == 33);
  // A push of the index would otherwise take these for its own.
  CHECK(both.server->about->push == retrieval::PushState{});
  CHECK_FALSE(both.server->locked);

  json own{{"items", {{{"code", "0000"}, {"id", 31}}}}};
  both.collection(with_token("POST", "/api/v1/items/batch", own), 409);
  CHECK(both.server->items.at(31).code.view().row(0)[0] == 0xffff);
  own["replace"] = 1;
  both.collection(with_token("POST", "/api/v1/items/batch", own), 201);
  CHECK(both.server->items.at(31).code.view().row(0)[0] == 0);
  own["model_hash"] = "ffffffffffffffff";
  both.collection(with_token("POST", "/api/v1/items/batch", own), 400);

  both.collection(with_token("DELETE", "/api/v1/items/31"));
  both.collection(with_token("DELETE", "/api/v1/items/31"), 404);
  CHECK(both.server->items.count(31) == 0);
  both.server->about->push.generation = 3;
  both.collection(with_token("DELETE", "/api/v1/items/31"), 404);
  CHECK(both.server->about->push.generation == 3);  // nothing was changed
  both.collection(Both::get("/api/v1/items/31"), 404);
  CHECK_FALSE(both.server->locked);
  CHECK(both.collection(Both::get("/api/v1/info"))["items"] == 5);

  // What was done when the server went isn't known, so it isn't done once more.
  both.server->fails_at = both.server->calls + 4;  // behind about(), lock() and about()
  both.server->breaks = testing::Break::kHalf;
  const json lost = both.collection(with_token("POST", "/api/v1/items/batch", entries), 503);
  CHECK(lost.dump().find("look whether") != std::string::npos);
  CHECK(both.server->items.size() == 6);
  CHECK_FALSE(both.server->locked);

  both.server->locked = true;  // another process changes it
  const json busy = both.collection(with_token("POST", "/api/v1/items/batch", entries), 503);
  CHECK(busy.dump().find("another process changes") != std::string::npos);
}

TEST_CASE("a server of collections that goes and comes back", "[serve_collection]") {
  Both both;
  const HttpRequest search = Both::get("/api/v1/search", {{"id", "30"}});
  const json expected = both.collection(search);
  both.collection(Both::get("/api/v1/info"));  // counts
  both.server->fails_at = both.server->calls + 1;
  // An idle connection that has gone is no fault of the request.
  CHECK(both.collection(search) == expected);
  both.server->fails_at = 0;
  // Nor is one that knows fewer classes than another program has made since.
  both.server->about->classes = 4;
  both.server->about->class_names.push_back("owl");
  both.server->items.at(30).description.labels = {3};
  both.collection(Both::get("/api/v1/items/30"));
  both.server->items.at(30).description.labels = {0};
  auto made = std::make_shared<int>(0);
  auto down = std::make_shared<bool>(true);
  ServedCollection gone(
      [&both, down, made]() -> std::unique_ptr<retrieval::Collection> {
        if (++*made > 1 && *down) throw TryAgain("db.example:5432: refused");
        return std::make_unique<MemoryCollection>(both.server);
      },
      .2);
  Api api(gone, nullptr, both.compute, {});
  const json refused = Both::answer(api, search, 503);
  // Where the codes are is nobody's business who may search them.
  CHECK(refused.dump().find("db.example") == std::string::npos);
  Both::answer(api, Both::get("/readyz"), 503);
  *down = false;
  CHECK(Both::answer(api, search) == expected);
  CHECK(api.before_body(Both::get("/readyz"))->status == 200);
  both.server->about.reset();
  CHECK(api.before_body(Both::get("/readyz"))->status == 503);
}

TEST_CASE("random items of a collection are different ones, drawn by the seed",
          "[serve_collection]") {
  Both both(300);
  const auto ids = [&](const std::string& limit, const std::string& seed) {
    std::vector<std::int64_t> drawn;
    const json answer =
        both.collection(Both::get("/api/v1/items/random", {{"limit", limit}, {"seed", seed}}));
    CHECK(answer["count"] == 300);
    for (const json& item : answer["items"]) drawn.push_back(item["id"]);
    return drawn;
  };
  const auto drawn = ids("48", "1");
  CHECK(std::set(drawn.begin(), drawn.end()).size() == 48);
  CHECK(drawn == ids("48", "1"));
  CHECK(drawn != ids("48", "2"));
  CHECK(*std::max_element(drawn.begin(), drawn.end()) > 1500);  // from all of 0 to 2,990
  CHECK(ids("1", "5").size() == 1);
  // Those that pass may stand together: 51 of 300.
  std::set<std::int64_t> of_many;
  for (int seed = 0; seed < 8; ++seed) {
    const json answer =
        both.collection(Both::get("/api/v1/items/random", {{"limit", "5"},
                                                           {"seed", std::to_string(seed)},
                                                           {"filter", "id>=1000"},
                                                           {"filter", "id<=1500"}}));
    CHECK(answer["count"] == 51);
    CHECK(answer["items"].size() == 5);
    for (const json& item : answer["items"]) of_many.insert(std::int64_t(item["id"]));
  }
  CHECK(of_many.size() > 20);
  CHECK(*of_many.rbegin() > 1400);
  const auto all = ids("1000", "3");
  CHECK(std::set(all.begin(), all.end()).size() == 300);
}

TEST_CASE("only so many connections are used, and those who wait too long are told",
          "[serve_collection]") {
  auto server = std::make_shared<MemoryServer>();
  CollectionPool pool([&] { return std::make_unique<MemoryCollection>(server); }, 2, .05);
  std::latch both_in(2), release(1);
  const auto hold = [&] {
    pool.use([&](retrieval::Collection&) {
      both_in.count_down();
      release.wait();
    });
  };
  std::thread first(hold), second(hold);
  both_in.wait();
  CHECK_THROWS_AS(pool.use([](retrieval::Collection&) {}), ComputeBusy);
  release.count_down();
  first.join();
  second.join();
  pool.use([](retrieval::Collection&) {});
  CHECK(server->connections == 2);
}

TEST_CASE("a server that takes fewer connections than are wanted is waited for",
          "[serve_collection]") {
  auto server = std::make_shared<MemoryServer>();
  server->most_connections = 2;
  CollectionPool pool([&] { return std::make_unique<MemoryCollection>(server); }, 16, 5);
  std::vector<std::thread> threads;
  std::atomic<int> done = 0;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      pool.use([](retrieval::Collection& collection) {
        collection.about();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      });
      ++done;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(done == 8);
  server->most_connections = 0;  // none at all: nobody is waited for
  CollectionPool other([&] { return std::make_unique<MemoryCollection>(server); }, 16, 60);
  CHECK_THROWS_AS(other.use([](retrieval::Collection&) {}), ComputeBusy);
}

TEST_CASE("what a server says of itself stays in the log", "[serve_collection]") {
  Both both;
  both.collection(Both::get("/api/v1/items/30"));
  both.server->items.at(40).description.labels = {9};  // damaged
  const json said = both.collection(Both::get("/api/v1/items/40"), 500);
  CHECK(said.dump().find("no such class") == std::string::npos);
  both.server->items.at(50).description.metadata = "not json {";
  CHECK(both.collection(Both::get("/api/v1/items/50"))["metadata"].is_null());
}

}  // namespace
}  // namespace hh::apps
