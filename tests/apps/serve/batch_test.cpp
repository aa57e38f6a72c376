// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/batch.h"

#include <catch2/catch.hpp>

#include "apps/serve/answer.h"

namespace hh::apps {
namespace {

using Catch::Contains;

const BatchNames kNames{
    .list = "queries", .common = {"k", "filter"}, .entry = {"id", "image", "metadata", "outputs"}};

HttpRequest json_request(const std::string& body) {
  return {.method = "POST", .content_type = "application/json", .body = body};
}

HttpRequest form(const std::vector<std::pair<std::string, std::string>>& parts) {
  HttpRequest request{.method = "POST", .content_type = "multipart/form-data; boundary=b"};
  for (const auto& [name, data] : parts) {
    request.body += "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + data;
    request.body += "\r\n";
  }
  request.body += "--b--\r\n";
  return request;
}

/// The message, after the status.
std::string refusal(const HttpRequest& request) {
  const auto error = failure_of([&] { read_batch(request, kNames); });
  return error ? std::to_string(error->status) + " " + error->message : "taken";
}

TEST_CASE("a batch has values of all and of each entry", "[batch]") {
  const auto request = json_request(
      R"({"k":5,"filter":["a=1","b=2"],"queries":[{"id":7},{"id":8,"metadata":{"x":[1]},"outputs":[0.5,-1]},
      {"id":"9","metadata":null}]})");
  const Batch batch = read_batch(request, kNames);
  CHECK(batch.values.one("k", 9) == "5");
  CHECK(batch.values.all("filter") == std::vector<std::string>{"a=1", "b=2"});
  REQUIRE(batch.entries.size() == 3);
  CHECK(batch.entries[0].values.one("id", 9) == "7");
  CHECK(batch.entries[1].values.one("metadata", 99) == R"({"x":[1]})");
  CHECK(batch.entries[1].outputs == std::vector<float>{.5f, -1.f});
  CHECK(batch.entries[2].values.one("id", 9) == "9");
  CHECK(batch.entries[2].values.all("metadata").empty());
  CHECK(!batch.entries[0].picture);
}

TEST_CASE("a form's pictures are entries of their own, or named by them", "[batch]") {
  const auto plain = form({{"image", "aa"}, {"request", R"({"k":3})"}, {"image", "bb"}});
  const Batch all = read_batch(plain, kNames);
  REQUIRE(all.entries.size() == 2);
  CHECK(all.entries[0].picture == "aa");
  CHECK(all.entries[1].picture == "bb");
  CHECK(all.values.one("k", 9) == "3");
  const auto named = form({{"image", "aa"},
                           {"image", "bb"},
                           {"request", R"({"queries":[{"image":1},{"id":4},{"image":0}]})"}});
  const Batch some = read_batch(named, kNames);
  CHECK(some.entries[0].picture == "bb");
  CHECK(!some.entries[1].picture);
  CHECK(some.entries[2].picture == "aa");
}

TEST_CASE("what is wrong with a batch is said of its entry", "[batch]") {
  const auto json = [](const std::string& body) { return refusal(json_request(body)); };
  for (const char* body : {"[]", "7", "null"}) {
    CHECK_THAT(json(body), Contains("400 the body must be a JSON object"));
  }
  for (const char* body : {"", "{", "{\"queries\":[{}]", "\xff", "\0{}", "{\"k\":1e999}"}) {
    INFO(body);
    CHECK_THAT(json(body), Contains("400 the body is no JSON"));
  }
  for (const char* value : {"true", "{}", "[1]"}) {
    CHECK_THAT(json(std::string(R"({"queries":[{"id":)") + value + "}]}"),
               Contains("queries[0]: id: only "));
  }
  CHECK_THAT(json("{}"), Contains("'queries' must be a list"));
  CHECK_THAT(json(R"({"queries":[]})"), Contains("'queries' must be a list"));
  CHECK_THAT(json(R"({"queries":{"id":1}})"), Contains("'queries' must be a list"));
  CHECK_THAT(json(R"({"querys":[{"id":1}]})"), Contains("the nearest is 'queries'"));
  CHECK_THAT(json(R"({"K":1,"queries":[{"id":1}]})"), Contains("the nearest is 'k'"));
  CHECK_THAT(json(R"({"k":[1],"queries":[{"id":1}]})"), Contains("k: only filter may be a list"));
  CHECK_THAT(json(R"({"queries":[{"id":1},{"idd":1}]})"), Contains("queries[1]: there is no"));
  CHECK_THAT(json(R"({"queries":[7]})"), Contains("queries[0]: use a JSON object"));
  CHECK_THAT(json(R"({"queries":[{"id":"1\u0000"}]})"), Contains("queries[0]: 'id' holds a zero"));
  CHECK_THAT(json(R"({"queries":[{"image":0}]})"), Contains("queries[0]: image = 0: send the"));
  for (const char* outputs : {"[]", "7", "[\"1\"]", "[1e39]", "{}"}) {
    INFO(outputs);
    CHECK_THAT(json(std::string(R"({"queries":[{"outputs":)") + outputs + "}]}"),
               Contains("queries[0]: outputs: use"));
  }
  std::string many = R"({"queries":[)";
  for (int i = 0; i < 1001; ++i) many += i == 0 ? "{}" : ",{}";
  CHECK_THAT(json(many + "]}"), Contains("has 1001 entries; the limit is 1000"));
  CHECK_THAT(json(R"({"filter":)" + std::string(100000, '[')), Contains("nested more than 70"));
  CHECK_THAT(json("{\"k\":\"" + std::string(kMaxBatchText, 'x') + "\"}"), Contains("413 JSON of"));

  CHECK_THAT(refusal(form({{"image", "a"}, {"request", R"({"queries":[{"image":1}]})"}})),
             Contains("queries[0]: image = '1': use a whole number from 0 to 0"));
  CHECK_THAT(refusal(form({{"image", "a"}, {"request", R"({"queries":[{"id":1}]})"}})),
             Contains("picture 0 of the form belongs to none"));
  CHECK_THAT(
      refusal(form({{"image", "a"}, {"request", R"({"queries":[{"image":0},{"image":0}]})"}})),
      Contains("queries[1]: image = 0: another entry has this picture already"));
  CHECK_THAT(refusal(form({{"image", "a"}, {"k", "5"}})), Contains("parts 'image' and one"));
  CHECK_THAT(refusal(form({{"request", "{}"}, {"request", "{}"}})), Contains("one 'request'"));
  std::vector<std::pair<std::string, std::string>> pictures(65, {"image", "a"});
  CHECK_THAT(refusal(form(pictures)), Contains("65 pictures; the limit is 64"));
  pictures.emplace_back("image", "a");
  CHECK_THAT(refusal(form(pictures)), Contains("the form has more than 65 parts"));
}

}  // namespace
}  // namespace hh::apps
