// SPDX-License-Identifier: Apache-2.0
// hybridhash serve, as browsers, programs and whoever else may reach it use it. Loopback only.
// HH_SERVE_FULL=1: 10,000 malformed requests, 1,000 malformed pictures and 30 kills.
#include <fmt/format.h>
#include <httplib.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <thread>

#include "apps/report/thumbnail.h"
#include "kernels/core/philox.h"
#include "retrieval/files/item_files.h"
#include "retrieval/index/index.h"
#include "retrieval/search/hamming_scan.h"
#include "tests/apps/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_data.h"

namespace hh {
namespace {

using Catch::Contains;
using nlohmann::json;
using testing::Program;

bool full_run() { return std::getenv("HH_SERVE_FULL") != nullptr; }

/// A model, its pictures and an index of 60 items, made once for all tests.
struct Material {
  testing::TemporaryFolder folder;

  Material() {
    testing::make_tiny_images(folder / "images");
    testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
    const auto run = [&](const std::vector<std::string>& words) {
      const testing::Outcome outcome = testing::run_program(folder.path(), words);
      INFO(outcome.err);
      REQUIRE(outcome.status == 0);
    };
    run({"train", path("tiny.toml"), "--out", path("run")});
    run({"index", "build", "--model", model(), "--class-folder", path("images"), "--out",
         path("index")});
  }
  std::string path(const std::string& name) const { return (folder / name).string(); }
  std::string model() const { return path("run/best.safetensors"); }
  std::string picture(const std::string& name) const {
    return testing::read_text(folder / "images" / name);
  }
};

const Material& material() {
  static const Material made;
  return made;
}

/// A server on a copy of the index in a folder of its own.
class Served {
 public:
  explicit Served(const std::vector<std::string>& more = {}, bool with_model = true,
                  const std::filesystem::path& at = {})
      : place_(at.empty() ? folder_ / "index" : at) {
    if (!std::filesystem::exists(place_ / "manifest.json")) {
      std::filesystem::copy(material().path("index"), place_);
    }
    words_ = {"serve", "--index",      place_.string(),           "--port",
              "0",     "--image-root", material().path("images"), "--device",
              "cpu"};
    if (with_model) words_.insert(words_.end(), {"--model", material().model()});
    words_.insert(words_.end(), more.begin(), more.end());
    start();
  }
  void start() {
    program_.emplace(folder_.path(), words_);
    REQUIRE(testing::wait_for(
        [&] { return program_->out().ends_with("/\n") || !program_->running(); }));
    INFO(program_->err());
    const std::string line = program_->out();
    REQUIRE_THAT(line, Contains("60 items of 16 bits at http://127.0.0.1:") || Contains(" items"));
    port_ = std::atoi(line.c_str() + line.rfind(':') + 1);
    REQUIRE(port_ > 0);
  }
  httplib::Client client() const {
    httplib::Client made("127.0.0.1", port_);
    made.set_read_timeout(60);
    return made;
  }
  Program& program() { return *program_; }
  int port() const { return port_; }
  const std::filesystem::path& index() const { return place_; }

 private:
  testing::TemporaryFolder folder_;
  std::filesystem::path place_;
  std::vector<std::string> words_;
  std::optional<Program> program_;
  int port_ = 0;
};

json parsed(const httplib::Result& result, int status) {
  REQUIRE(result);
  CAPTURE(result->body);
  if (status >= 400) testing::check_no_source_text(result->body);
  REQUIRE(result->status == status);
  return json::parse(result->body);
}

/// Everything that comes back for these bytes, after which the client says no more; or, where it
/// waits, seems to be about to.
std::string answer_to(int port, const std::string& bytes, bool wait = false) {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
  const timeval limit{.tv_sec = 20, .tv_usec = 0};
  ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(std::uint16_t(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t put = ::send(descriptor, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (put <= 0) break;
    done += std::size_t(put);
  }
  if (!wait) ::shutdown(descriptor, SHUT_WR);
  std::string answer;
  char block[4096];
  for (ssize_t got; (got = ::recv(descriptor, block, sizeof block, 0)) > 0;) {
    answer.append(block, std::size_t(got));
  }
  ::close(descriptor);
  testing::check_no_source_text(answer);
  return answer;
}

/// That there is an answer, and all answers are 4xx with a JSON error.
void check_refused(const std::string& answer) {
  REQUIRE_THAT(answer, Catch::StartsWith("HTTP/1.1 4"));
  for (std::size_t at = 0; (at = answer.find("HTTP/1.1 ", at)) != std::string::npos; ++at) {
    REQUIRE(answer[at + 9] == '4');
    const std::size_t body = answer.find("\r\n\r\n", at);
    REQUIRE(body != std::string::npos);
    const std::size_t end = std::min(answer.find("HTTP/1.1 ", body), answer.size());
    REQUIRE(json::parse(answer.substr(body + 4, end - body - 4)).contains("error"));
  }
}

std::string get(const std::string& target, const std::string& heads = "") {
  return "GET " + target + " HTTP/1.1\r\nHost: localhost\r\n" + heads + "\r\n";
}
std::string post(const std::string& target, const std::string& heads, const std::string& body) {
  return "POST " + target + " HTTP/1.1\r\nHost: localhost\r\n" + heads + "\r\n" + body;
}
std::string post(const std::string& target, const std::string& body) {
  return post(target, "Content-Length: " + std::to_string(body.size()) + "\r\n", body);
}

class Draws {
 public:
  explicit Draws(std::uint64_t seed) : random_(seed, RandomPurpose::kTest) {}
  std::uint32_t below(std::uint32_t n) { return random_.below(draw_++, n); }
  std::string bytes(std::size_t count) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += char(below(256));
    return text;
  }

 private:
  Philox random_;
  std::uint64_t draw_ = 0;
};

std::string malformed_request(Draws& draws) {
  const std::string picture = material().picture("red/100.ppm");
  const std::string n = std::to_string(draws.below(1000));
  switch (draws.below(24)) {
    case 0:
      return "\x01" + draws.bytes(1 + draws.below(400));
    case 1:
      return "\x01" + draws.bytes(draws.below(60)) + "\r\n\r\n";
    case 2:
      return "FETCH / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    case 3:
      return "GET / HTTP/" + n + "9\r\n\r\n";
    case 4:
      return get("/").substr(0, 1 + draws.below(15));
    case 5:
      return get("/" + std::string(9000 + draws.below(9000), 'a'));
    case 6:
      return get("/", "X: " + std::string(70000 + draws.below(9000), 'b') + "\r\n");
    case 7:
      return get("/none/" + n);
    case 8:
      return get("/api/search?id=" + n + "x");
    case 9:
      return get("/api/search?id=9" + n + "&k=5");  // from 90 on: there are 60
    case 10:
      return get("/api/search?code=" + std::string(draws.below(200), 'g'));
    case 11:
      return get("/api/search?id=1&k=-" + n);
    case 12:
      return get("/api/search?id=1&radius=1" + n + "00000000000000000000");
    case 13:
      return get("/api/search?id=1&filter=%ff%00" + n);
    case 14:
      return get("/api/items/" + n + "99999999999999999999");
    case 15:
      return post("/api/search", "Content-Length: " + n + "e5\r\n", picture);
    case 16:
      return post("/api/search", "Content-Length: 5\r\nContent-Length: 6\r\n", picture);
    case 17:
      return post("/api/encode", "Content-Length: 99999999999999999" + n + "\r\n", picture);
    case 18:
      return post("/api/encode", "Transfer-Encoding: " + n + "\r\n", picture);
    case 19:
      return post("/api/encode", "Transfer-Encoding: chunked\r\n",
                  "zz" + n + "\r\n" + draws.bytes(50));
    case 20:
      return post("/api/encode", "Content-Length: 2000\r\n", picture.substr(0, 500));
    case 21:
      return post("/api/encode",
                  "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 50\r\n",
                  "--b\r\nContent-Disposition: form-data; name=\"image\"\r\n");
    case 22:
      return post("/api/encode", "Content-Encoding: gzip\r\nContent-Length: 40\r\n",
                  draws.bytes(40));
    default:
      return "DELETE /api/items/" + n + "x HTTP/1.1\r\nHost: localhost\r\n\r\n";
  }
}

/// A PNG (up to 64 pixels) or a JPEG of noise.
std::string noise_file(int side) {
  Draws draws(7);
  data::Image image;
  image.reshape(side, side, 3);
  for (auto& value : image.pixels) value = std::uint8_t(draws.below(256));
  return apps::encode_thumbnail(image, side).bytes;
}

std::string malformed_picture(Draws& draws, const std::vector<std::string>& whole) {
  const std::string& file = whole[draws.below(std::uint32_t(whole.size()))];
  switch (draws.below(5)) {
    case 0:
      return draws.bytes(1 + draws.below(500));
    case 1:
      return file.substr(0, 1 + draws.below(std::uint32_t(file.size() * 6 / 10)));
    case 2:  // a header, then noise that is too short for its pixels
      return file.substr(0, 2 + draws.below(8)) + draws.bytes(draws.below(64));
    case 3:
      return "P6 " + std::to_string(1 + draws.below(60000)) + "000 " +
             std::to_string(1 + draws.below(60000)) + "000 255\n" + draws.bytes(20);
    default:
      return "P" + std::to_string(7 + draws.below(3)) + "\n1 1\n255\nabc";
  }
}

TEST_CASE("the server searches and encodes", "[serve]") {
  Served served;
  httplib::Client client = served.client();
  const std::string red = material().picture("red/100.ppm");

  const json info = parsed(client.Get("/api/info"), 200);
  CHECK(info.at("items") == 60);
  CHECK(info.at("classes") == json{"blue", "green", "red"});

  SECTION("a picture is searched, raw and in a form, with the same answer") {
    const json raw = parsed(client.Post("/api/search?k=5&label=red", red, "image/any"), 200);
    REQUIRE(raw.at("results").size() == 5);
    CHECK(raw.at("results")[0].at("distance") == 0);  // it is in the index itself
    const httplib::MultipartFormDataItems form{
        {"image", red, "x.ppm", "image/any"}, {"k", "5", "", ""}, {"label", "red", "", ""}};
    const json sent = parsed(client.Post("/api/search", form), 200);
    CHECK(sent.at("results") == raw.at("results"));
    CHECK(sent.at("precision") == raw.at("precision"));
    double same = 0;
    for (const json& r : raw.at("results")) {
      CHECK(r.at("same_class") == (r.at("labels") == json{"red"}));
      same += r.at("same_class").get<bool>();
    }
    CHECK(raw.at("precision") == same / 5);
    const json code = parsed(client.Post("/api/encode", red, "image/any"), 200);
    CHECK(code.at("code") == raw.at("query").at("code"));
    CHECK(code.at("outputs").size() == 16);
    const json by_code =
        parsed(client.Get("/api/search?k=5&code=" + code.at("code").get<std::string>()), 200);
    for (int i = 0; i < 5; ++i) {
      CHECK(by_code.at("results")[std::size_t(i)].at("id") ==
            raw.at("results")[std::size_t(i)].at("id"));
    }
  }
  SECTION("by item, within a radius, with filters: as the index itself says") {
    const auto index = retrieval::Index::open(served.index());
    const json near = parsed(client.Get("/api/search?id=3&radius=4&k=1000"), 200);
    std::size_t expected = 0;
    for (std::int64_t row = 0; row < index.rows(); ++row) {
      const int distance =
          retrieval::hamming_distance(index.codes().row(3), index.codes().row(row));
      expected += distance <= 4 && row != 3;
    }
    CHECK(near.at("results").size() == expected);
    CHECK(near.at("within_radius") == expected);
    const json green = parsed(client.Get("/api/search?id=3&k=100&filter=label=green"), 200);
    CHECK(green.at("results").size() == 20);
    CHECK(green.at("precision") == 0.);
    const json path = parsed(client.Get("/api/search?id=3&filter=path~red%2F10*"), 200);
    CHECK(path.at("results").size() == 10);
    const json item = parsed(client.Get("/api/items/3"), 200);
    CHECK(item.at("name") == "blue/103.ppm");
    CHECK(item.at("code") == retrieval::code_to_hex(index.codes(), 3));
    const auto picture = client.Get("/api/items/3/image");
    REQUIRE(picture);
    CHECK(picture->get_header_value("Content-Type") == "image/png");
    CHECK(picture->body.starts_with("\x89PNG"));
  }
}

TEST_CASE("the server changes its index and tells how it is", "[serve]") {
  Served served;
  httplib::Client client = served.client();
  const std::string red = material().picture("red/100.ppm");
  SECTION("items are added, replaced and deleted, and all of it lasts") {
    const httplib::MultipartFormDataItems form{{"image", red, "x.ppm", ""},
                                               {"name", "new/one.ppm", "", ""},
                                               {"label", "red,blue", "", ""},
                                               {"metadata", R"({"year":2024})", "", ""}};
    const json added = parsed(client.Post("/api/items", form), 201);
    CHECK(added.at("id") == 60);
    const json item = parsed(client.Get("/api/items/60"), 200);
    CHECK(item.at("labels") == json{"blue", "red"});
    CHECK(item.at("metadata") == json{{"year", 2024}});
    CHECK(parsed(client.Get("/api/search?id=60&filter=year%3E2023"), 200).at("results").empty());
    parsed(client.Post("/api/items?id=60", red, ""), 409);
    parsed(client.Post("/api/items?id=60&replace=1", red, ""), 201);
    parsed(client.Delete("/api/items/7"), 200);
    parsed(client.Delete("/api/items/7"), 404);
    parsed(client.Get("/api/items/7"), 404);
    parsed(client.Post("/api/items?name=../../etc/x", red, ""), 400);
    parsed(client.Post("/api/items?name=/etc/x", red, ""), 400);
    parsed(client.Post("/api/items?label=pink", red, ""), 400);
    parsed(client.Post("/api/items?metadata=%5B1%5D", red, ""), 400);
    const auto index = retrieval::Index::open(served.index());
    CHECK(index.count() == 60);
    CHECK(!index.row_of(7));
    CHECK(index.row_of(60));
  }
  SECTION("changes of another process show") {
    retrieval::IndexWriter writer(served.index());
    const std::int64_t id = 5;
    writer.remove(std::span(&id, 1));
    parsed(client.Get("/api/items/5"), 404);
    CHECK(parsed(client.Get("/api/info"), 200).at("items") == 59);
  }
  SECTION("health, metrics and page") {
    const auto health = client.Get("/healthz");
    REQUIRE(health);
    CHECK(health->body == "ok\n");
    const auto page = client.Get("/");
    REQUIRE(page);
    CHECK_THAT(page->body, Contains("/page.js") && !Contains("https://") && !Contains("//cdn"));
    for (const char* part : {"/page.js", "/page.css"}) {
      const auto file = client.Get(part);
      REQUIRE(file);
      CHECK(file->status == 200);
    }
    parsed(client.Get("/nothing"), 404);
    parsed(client.Put("/api/info", "x", "text/plain"), 405);
    const auto metrics = client.Get("/metrics");
    REQUIRE(metrics);
    CHECK_THAT(metrics->body,
               Contains("hybridhash_index_items 60\n") &&
                   Contains("hybridhash_requests_total{route=\"/healthz\",status=\"200\"} 1\n") &&
                   Contains("hybridhash_requests_total{route=\"other\",status=\"404\"} 1\n") &&
                   Contains("hybridhash_request_seconds_count{route=\"page\"} 3\n"));
  }
}

TEST_CASE("items are listed page by page, and by chance", "[serve]") {
  Served served;
  auto client = served.client();
  const json info = parsed(client.Get("/api/v1/info"), 200);
  CHECK(info == parsed(client.Get("/api/info"), 200));
  parsed(client.Delete("/api/v1/items/5"), 200);
  std::vector<std::int64_t> ids;
  std::string after;
  int pages = 0;
  for (json next = 0; !next.is_null(); ++pages) {
    const json page = parsed(client.Get("/api/v1/items?limit=25" + after), 200);
    CHECK(page.at("count") == 59);
    for (const json& item : page.at("items")) ids.push_back(item.at("id"));
    next = page.at("next");
    after = "&after=" + next.dump();
  }
  CHECK(pages == 3);
  REQUIRE(ids.size() == 59);
  CHECK(std::is_sorted(ids.begin(), ids.end()));
  CHECK(std::find(ids.begin(), ids.end(), 5) == ids.end());
  CHECK(parsed(client.Get("/api/v1/items?filter=label=red&limit=7"), 200).at("count") == 20);
  CHECK(parsed(client.Get("/api/v1/items?after=59"), 200).at("items").empty());

  const auto random = [&](const std::string& values) {
    std::vector<std::int64_t> drawn;
    const json answer = parsed(client.Get("/api/v1/items/random?" + values), 200);
    for (const json& item : answer.at("items")) drawn.push_back(item.at("id"));
    return drawn;
  };
  const auto drawn = random("limit=20&seed=7");
  CHECK(drawn == random("limit=20&seed=7"));
  CHECK(drawn != random("limit=20&seed=8"));
  CHECK(std::set<std::int64_t>(drawn.begin(), drawn.end()).size() == 20);
  auto all = random("limit=1000");
  CHECK(all != ids);
  std::sort(all.begin(), all.end());
  CHECK(all == ids);
  CHECK(random("filter=label=blue").size() == 19);
  for (const char* wrong :
       {"/api/v1/items?limit=0", "/api/v1/items?limit=1001", "/api/v1/items?after=-1",
        "/api/v1/items?k=5", "/api/v1/items/random?after=5", "/api/v1/items/3/image?side=5000"}) {
    INFO(wrong);
    parsed(client.Get(wrong), 400);
  }
  CHECK(client.Get("/readyz")->body == "ready\n");
  CHECK(parsed(client.Get("/api/v1/openapi.json"), 200).at("openapi") == "3.1.0");
  CHECK(client.Get("/api/v1/items/3/image?side=16")->status == 200);
}

const char* const kJson = "application/json";

/// A search's answer without what a batch says once for all.
json alone(json answer) {
  for (const char* key : {"method", "search_seconds", "encode_seconds"}) answer.erase(key);
  return answer;
}

TEST_CASE("many searches in a request give what single ones give", "[serve][batch]") {
  const testing::TemporaryFolder folder;
  const testing::Outcome built = testing::run_program(
      folder.path(), {"index", "build", "--model", material().model(), "--class-folder",
                      material().path("images"), "--keep-outputs", "--out", folder / "index"});
  REQUIRE(built.status == 0);
  CHECK_THAT(built.out,
             Contains("built; 60 items of 16 bits; ") && Catch::EndsWith(" images/s)\n"));
  const std::string method = GENERATE("scan", "multi-index");
  Served served({"--method", method}, true, folder / "index");
  auto client = served.client();
  const auto batch = [&](const json& request) {
    return parsed(client.Post("/api/v1/search/batch", request.dump(), kJson), 200).at("answers");
  };
  SECTION("by codes and items") {
    json queries = json::array(), singles = json::array();
    for (int i = 0; i < 150; ++i) {  // more than take one turn
      const json query = i % 2 == 0
                             ? json{{"id", i % 60}}
                             : json{{"code", fmt::format("{:04x}", 97 * i)}, {"label", "red"}};
      const std::string one =
          i % 2 == 0 ? fmt::format("id={}", i % 60) : fmt::format("code={:04x}&label=red", 97 * i);
      queries.push_back(query);
      singles.push_back(one);
    }
    const auto check = [&](json request, const std::string& values) {
      INFO(values);
      request["queries"] = queries;
      const json answers = batch(request);
      REQUIRE(answers.size() == queries.size());
      for (std::size_t i = 0; i < queries.size(); ++i) {
        const std::string target = "/api/v1/search?" + singles[i].get<std::string>() + values;
        REQUIRE(answers[i] == alone(parsed(client.Get(target), 200)));
      }
    };
    check({{"k", 7}}, "&k=7");
    check({{"radius", 5}, {"k", 9}}, "&radius=5&k=9");
    check({{"filter", {"label=blue", "id<30"}}}, "&filter=label=blue&filter=id%3C30");
    CHECK(batch({{"queries", {{{"id", 3}}, {{"id", 4}}}}, {"rerank", 30}, {"k", 5}}) ==
          json{alone(parsed(client.Get("/api/v1/search?id=3&rerank=30&k=5"), 200)),
               alone(parsed(client.Get("/api/v1/search?id=4&rerank=30&k=5"), 200))});
  }
  SECTION("by pictures, among which one is broken") {
    const std::string red = material().picture("red/100.ppm");
    const std::string blue = material().picture("blue/105.ppm");
    const httplib::MultipartFormDataItems form{
        {"image", red, "a", ""},
        {"image", "P6 broken", "b", ""},
        {"image", blue, "c", ""},
        {"request",
         R"({"k":4,"queries":[{"image":0,"label":"red"},{"image":1},{"id":99},{"image":2},{"code":"1"},
            {"id":1,"code":"0000"},{},{"code":"0000"}]})",
         "", ""}};
    const json answers = parsed(client.Post("/api/v1/search/batch", form), 200).at("answers");
    REQUIRE(answers.size() == 8);
    CHECK(answers[0] == alone(parsed(client.Post("/api/v1/search?k=4&label=red", red, ""), 200)));
    CHECK(answers[3] == alone(parsed(client.Post("/api/v1/search?k=4", blue, ""), 200)));
    CHECK(answers[7] == alone(parsed(client.Get("/api/v1/search?k=4&code=0000"), 200)));
    CHECK_THAT(answers[1].at("error").get<std::string>(), Contains("the picture can't be used"));
    CHECK(answers[1].at("status") == 400);
    CHECK(answers[2].at("status") == 404);
    CHECK(answers[4].at("status") == 400);
    CHECK(answers[5].at("status") == 400);
    CHECK_THAT(answers[6].at("error").get<std::string>(), Contains("what to search?"));
  }
}

TEST_CASE("a request of many searches has limits", "[serve][batch]") {
  Served served;
  auto client = served.client();
  const auto refused = [&](const json& request, const std::string& why) {
    const json answer = parsed(client.Post("/api/v1/search/batch", request.dump(), kJson), 400);
    CHECK_THAT(answer.at("error").get<std::string>(), Contains(why));
  };
  const json query{{"code", "0000"}};
  refused({{"k", 1000}, {"queries", std::vector<json>(21, query)}}, "the limit is 20000 together");
  refused({{"rerank", 10000}, {"queries", std::vector<json>(21, {{"id", 1}})}},
          "the limit is 200000 together");
  refused({{"k", 2.5}, {"queries", {query}}}, "k = '2.5': use a whole number");
  refused({{"filter", std::vector<std::string>(17, "id<3")}, {"queries", {query}}}, "17 filters");
  parsed(client.Post("/api/v1/search/batch?k=3", "{}", kJson), 400);
  parsed(client.Get("/api/v1/search/batch"), 405);
}

TEST_CASE("many items are added in a request, all or none", "[serve][batch]") {
  Served served;
  auto client = served.client();
  const std::string red = material().picture("red/100.ppm");
  const auto count = [&] { return retrieval::Index::open(served.index()).count(); };
  const json hash = parsed(client.Get("/api/v1/info"), 200).at("model_hash");
  const auto refused = [&](int status, const json& request, const std::string& why) {
    INFO(request);
    const json answer = parsed(client.Post("/api/v1/items/batch", request.dump(), kJson), status);
    CHECK_THAT(answer.at("error").get<std::string>(), Contains(why));
    CHECK(count() == 60);
  };
  SECTION("by codes, outputs and pictures") {
    const json single = parsed(client.Post("/api/v1/encode", red, ""), 200);
    const httplib::MultipartFormDataItems form{
        {"image", red, "a", ""},
        {"request",
         json{{"items",
               {{{"code", "0182"}, {"name", "a/b.jpg"}, {"label", "red,blue"}},
                {{"image", 0}, {"metadata", {{"year", 2024}}}},
                {{"outputs", single.at("outputs")}, {"label", "green"}}}},
              {"model_hash", hash}}
             .dump(),
         "", ""}};
    const json added = parsed(client.Post("/api/v1/items/batch", form), 201).at("added");
    REQUIRE(added.size() == 3);
    for (int i = 0; i < 3; ++i) CHECK(added[std::size_t(i)].at("id") == 60 + i);
    CHECK(added[0].at("code") == "0182");
    CHECK(added[1].at("code") == single.at("code"));
    CHECK(added[2].at("code") == single.at("code"));
    const json first = parsed(client.Get("/api/v1/items/60"), 200);
    CHECK(first.at("name") == "a/b.jpg");
    CHECK(first.at("labels") == json{"blue", "red"});
    const json second = parsed(client.Get("/api/v1/items/61"), 200);
    CHECK(second.at("metadata") == json{{"year", 2024}});
    CHECK(second.at("labels").empty());
    CHECK(parsed(client.Get("/api/v1/items/62"), 200).at("labels") == json{"green"});
    CHECK(count() == 63);
  }
  SECTION("by ids of their own, which are replaced when that is asked for") {
    const json two{{{"id", 5}, {"code", "ffff"}}, {{"id", 100}, {"code", "0000"}}};
    refused(409, {{"items", two}}, "there is an item with id 5");
    const json replaced = parsed(
        client.Post("/api/v1/items/batch", json{{"items", two}, {"replace", true}}.dump(), kJson),
        201);
    CHECK(replaced.at("added")[1].at("id") == 100);
    CHECK(parsed(client.Get("/api/v1/items/5"), 200).at("code") == "ffff");
    CHECK(count() == 61);
  }
  SECTION("and none of them where one can't be") {
    const json good{{"code", "0000"}};
    refused(400, {{"items", {good, {{"code", "00"}}}}}, "items[1]: ");
    refused(400, {{"items", {good, {{"code", "0000"}, {"label", "pink"}}}}}, "items[1]: ");
    refused(400, {{"items", {{{"code", "0000"}, {"name", "../x"}}}}}, "items[0]: name = '../x'");
    refused(400, {{"items", {good, {{"outputs", {1, 2}}}}}}, "items[1]: outputs: 2 for an index");
    refused(400, {{"items", {good, {{"name", "x"}}}}}, "items[1]: what to add?");
    refused(400, {{"items", {{{"code", "0000"}, {"outputs", {1}}}}}}, "items[0]: what to add?");
    refused(400, {{"items", {good, {{"code", "0000"}, {"id", 100}}}}}, "give all of them one");
    refused(400, {{"items", {{{"code", "0000"}, {"id", 100}}, {{"code", "0000"}, {"id", 100}}}}},
            "two of the items have the id 100");
    refused(400, {{"items", {good}}, {"model_hash", "0123456789abcdef"}}, "codes of the model");
    refused(400, {{"items", {good}}, {"replace", 2}}, "replace = '2'");
    const httplib::MultipartFormDataItems form{{"image", red, "a", ""}, {"image", "P6", "b", ""}};
    const json broken = parsed(client.Post("/api/v1/items/batch", form), 400);
    CHECK_THAT(broken.at("error").get<std::string>(), Contains("items[1]: the picture can't be"));
    CHECK(count() == 60);
  }
}

TEST_CASE("many new items take the token, and a model where they are pictures", "[serve][batch]") {
  const std::string red = material().picture("red/100.ppm");
  Served guarded({"--token", "secret"});
  auto other = guarded.client();
  const std::string body = R"({"items":[{"code":"0000"}]})";
  parsed(other.Post("/api/v1/items/batch", body, kJson), 401);
  const httplib::Headers token{{"Authorization", "Bearer secret"}};
  parsed(other.Post("/api/v1/items/batch", token, body, kJson), 201);
  Served no_model({}, false);
  auto third = no_model.client();
  parsed(third.Post("/api/v1/items/batch", body, kJson), 201);
  const httplib::MultipartFormDataItems form{{"image", red, "a", ""}};
  parsed(third.Post("/api/v1/items/batch", form), 501);
  parsed(third.Post("/api/v1/search/batch", form), 501);
}

TEST_CASE("metadata of any size are no way to fill the server's memory", "[serve][batch]") {
  Served served;
  auto client = served.client();
  json items = json::array(), queries = json::array();
  const json large{{"t", std::string(60'000, 'x')}};
  for (int i = 0; i < 20; ++i) items.push_back({{"code", "ffff"}, {"metadata", large}});
  parsed(client.Post("/api/v1/items/batch", json{{"items", items}}.dump(), kJson), 201);
  for (int i = 0; i < 100; ++i) queries.push_back({{"code", "ffff"}});
  const auto search = [&](int k, int status) {
    const json request{{"k", k}, {"queries", queries}};
    return parsed(client.Post("/api/v1/search/batch", request.dump(), kJson), status);
  };
  CHECK_THAT(search(20, 413).at("error").get<std::string>(), Contains("more than 64 MiB"));
  CHECK(search(1, 200).at("answers").size() == 100);
  items[1]["metadata"] = 5;
  const json wrong =
      parsed(client.Post("/api/v1/items/batch", json{{"items", items}}.dump(), kJson), 400);
  CHECK_THAT(wrong.at("error").get<std::string>(),
             Contains("items[1]: metadata: use a JSON object"));
}

TEST_CASE("a query that can't be re-ranked spoils no other", "[serve][batch]") {
  const testing::TemporaryFolder folder;
  REQUIRE(testing::run_program(folder.path(), {"index", "build", "--model", material().model(),
                                               "--class-folder", material().path("images"),
                                               "--keep-outputs", "--out", folder / "index"})
              .status == 0);
  Served served({}, true, folder / "index");
  auto client = served.client();
  const json request{{"rerank", 5}, {"queries", {{{"id", 1}}, {{"code", "ffff"}}, {{"id", 2}}}}};
  const json answers =
      parsed(client.Post("/api/v1/search/batch", request.dump(), kJson), 200).at("answers");
  CHECK(answers[0].at("results").size() == 20);
  CHECK_THAT(answers[1].at("error").get<std::string>(), Contains("re-ranking takes"));
  CHECK(answers[2].at("results").size() == 20);
}

TEST_CASE("reading takes the token where there is one", "[serve]") {
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "read", "look\n");
  Served served({"--read-token-file", (folder / "read").string(), "--token", "change"});
  auto client = served.client();
  const auto status = [&](const std::string& path, const std::string& authorization) {
    httplib::Headers headers;
    if (!authorization.empty()) headers.emplace("Authorization", authorization);
    return client.Get(path, headers)->status;
  };
  for (const char* path : {"/", "/page.js", "/api/v1/info", "/api/items/3", "/api/items/3/image",
                           "/api/search?id=1", "/metrics", "/api/v1/openapi.json"}) {
    INFO(path);
    CHECK(status(path, "") == 401);
    CHECK(status(path, "Bearer loo") == 401);
    CHECK(status(path, "Bearer ") == 401);
    CHECK(status(path, "Basic Og==") == 401);  // ":"
    CHECK(status(path, "Basic !!!") == 401);
    CHECK(status(path, "Bearer look") == 200);
    CHECK(status(path, "Basic YW55Omxvb2s=") == 200);  // "any:look"
    CHECK(status(path, "Bearer change") == 200);
  }
  CHECK_THAT(client.Get("/")->get_header_value("WWW-Authenticate"), Contains("Basic realm="));
  CHECK(status("/healthz", "") == 200);
  CHECK(status("/readyz", "") == 200);
  parsed(client.Delete("/api/items/1", {{"Authorization", "Bearer look"}}), 401);
  parsed(client.Delete("/api/items/1", {{"Authorization", "Basic YW55OmNoYW5nZQ=="}}), 200);
  parsed(client.Post("/api/search", material().picture("red/100.ppm"), "image/any"), 401);
}

TEST_CASE("an index that another model made anew is searched, but not by the old one's pictures",
          "[serve]") {
  Served served;
  auto client = served.client();
  parsed(client.Post("/api/search", material().picture("red/100.ppm"), "image/x-portable-pixmap"),
         200);
  // The same codes, as if another model had made them.
  auto items = retrieval::Index::open(served.index()).contents();
  items.set.model_hash = "0123456789abcdef";
  retrieval::build_index(served.index(), items, true);
  const json refused = parsed(
      client.Post("/api/search", material().picture("red/100.ppm"), "image/x-portable-pixmap"),
      503);
  CHECK_THAT(refused.at("error").get<std::string>(),
             Contains("made anew by the model 0123456789abcdef"));
  parsed(client.Post("/api/items", material().picture("red/100.ppm"), "image/x-portable-pixmap"),
         503);
  CHECK(parsed(client.Get("/api/search?id=1&k=3"), 200).at("results").size() == 3);
  parsed(client.Get("/readyz"), 503);
  CHECK(client.Get("/healthz")->status == 200);
}

TEST_CASE("the access log has a line for each answer, and no token", "[serve][access_log]") {
  const testing::TemporaryFolder folder;
  const std::filesystem::path log = folder / "access.jsonl";
  Served served({"--access-log", log.string(), "--token", "secret-7"});
  auto client = served.client();
  std::vector<json> lines;
  // An answer may be here before its line.
  const auto logged = [&](std::size_t count) {
    return testing::wait_for([&] {
      lines.clear();
      std::istringstream text(testing::read_text(log));
      for (std::string line; std::getline(text, line);) lines.push_back(json::parse(line));
      return lines.size() == count;
    });
  };
  const auto length = client.Get("/api/info?x=secret-7")->body.size();
  REQUIRE(logged(1));
  parsed(client.Delete("/api/items/1", {{"Authorization", "Bearer secret-7"}}), 200);
  REQUIRE(logged(2));
  CHECK_THAT(answer_to(served.port(), get("/a%22%0a%1b\"b?token=secret-7")), Contains(" 404 "));
  REQUIRE(logged(3));
  CHECK_THAT(answer_to(served.port(), "\x01nothing\r\n\r\n"), Contains(" 400 "));
  REQUIRE(logged(4));
  REQUIRE(client.Head("/healthz"));
  REQUIRE(logged(5));
  CHECK_THAT(testing::read_text(log), !Contains("secret-7"));
  CHECK(lines[0].at("path") == "/api/info");
  CHECK(lines[0].at("status") == 400);
  CHECK(lines[0].at("bytes") > length);
  CHECK(lines[0].at("client") == "127.0.0.1");
  CHECK(lines[0].at("ms") > 0);
  CHECK(lines[1].at("method") == "DELETE");
  CHECK(lines[2].at("path") == "/a\"\n\x1b\"b");
  CHECK(lines[3].at("path") == "");
  CHECK(lines[4].at("method") == "HEAD");
  // As logrotate does it, with a signal or without.
  std::filesystem::rename(log, folder / "access.1");
  served.program().signal(SIGHUP);
  REQUIRE(client.Get("/healthz"));
  CHECK(testing::wait_for([&] { return std::filesystem::exists(log); }));
  const testing::Outcome refused =
      testing::run_program(folder.path(), {"serve", "--index", served.index().string(),
                                           "--access-log", material().model(), "--port", "0"});
  CHECK(refused.status == 2);
  CHECK_THAT(refused.err, Contains("is no access log"));
}

TEST_CASE("what the server refuses, it explains", "[serve]") {
  Served served;
  httplib::Client client = served.client();
  const std::string red = material().picture("red/100.ppm");
  SECTION("parameters that an address doesn't take, and values that it can't use, are named") {
    const auto refused = [&](const httplib::Result& result, const std::string& why) {
      const json answer = parsed(result, 400);
      CHECK_THAT(answer.at("error").get<std::string>(), Contains(why));
    };
    for (const char* path : {"/api/info?x=1", "/api/items/0?x=1"}) {
      refused(client.Get(path), "takes no parameters");
    }
    refused(client.Delete("/api/items/0?x=1"), "takes no parameters");
    refused(client.Post("/api/encode?k=3", red, ""), "takes no parameters");
    refused(client.Get("/api/search?id=0&K=3"), "the nearest is 'k'");
    refused(client.Post("/api/search?radios=3", red, ""), "the nearest is 'radius'");
    refused(client.Post("/api/items?labels=red", red, ""), "the nearest is 'label'");
    for (const char* value :
         {"abc", "-1", "1e99", "nan", "1.5", "%2B3", "0x10", "%203", "99999999999999999999", ""}) {
      CAPTURE(value);
      for (const std::string key : {"k", "radius", "rerank"}) {
        refused(client.Get("/api/search?id=0&" + key + "=" + value), "use a whole number from ");
        refused(client.Post("/api/search?" + key + "=" + value, red, ""),
                "use a whole number from ");
      }
      if (*value == '\0') continue;
      refused(client.Get(std::string("/api/search?id=") + value), "use a whole number from 0");
      refused(client.Post(std::string("/api/items?id=") + value, red, ""),
              "use a whole number from 0");
      refused(client.Post(std::string("/api/items?replace=") + value, red, ""), "from 0 to 1");
    }
    for (const std::string key : {"id", "code", "filter"}) {
      refused(client.Get("/api/search?" + key + "=0%00f"), "'" + key + "' holds a zero byte");
    }
    refused(client.Post("/api/items?metadata=%7B%7D%00", red, ""), "holds a zero byte");
    refused(client.Post("/api/items?na%00me=x", red, ""), "holds a zero byte");
    CHECK(retrieval::Index::open(served.index()).count() == 60);
  }
  SECTION("other sites' pages are refused") {
    CHECK_THAT(answer_to(served.port(), "GET /api/info HTTP/1.1\r\nHost: evil.test\r\n\r\n"),
               Catch::StartsWith("HTTP/1.1 403"));
    CHECK_THAT(answer_to(served.port(), post("/api/items",
                                             "Origin: http://evil.test\r\nContent-Length: " +
                                                 std::to_string(red.size()) + "\r\n",
                                             red)),
               Catch::StartsWith("HTTP/1.1 403"));
    CHECK(retrieval::Index::open(served.index()).count() == 60);
  }
}

TEST_CASE("tables give the scan's answers while the index changes", "[serve]") {
  const testing::TemporaryFolder folder;
  const testing::Outcome built = testing::run_program(
      folder.path(), {"index", "build", "--model", material().model(), "--class-folder",
                      material().path("images"), "--keep-outputs", "--out", folder / "index"});
  REQUIRE(built.status == 0);
  Served served({"--method", "multi-index"}, true, folder / "index");
  httplib::Client client = served.client();
  const auto check = [&] {
    const auto index = retrieval::Index::open(served.index());
    const retrieval::HammingScan scan(index.codes());
    for (const char* code : {"0000", "1234", "ff0f"}) {
      const json got = parsed(client.Get("/api/search?k=100&code=" + std::string(code)), 200);
      const auto query = retrieval::parse_code(code, 16);
      const auto want = scan.topk(query, 100, index.allowed());
      REQUIRE(got.at("results").size() == std::size_t(index.count()));
      for (std::size_t i = 0; i < std::size_t(index.count()); ++i) {
        REQUIRE(got.at("results")[i].at("id") == index.ids()[std::size_t(want.rows[i])]);
        REQUIRE(got.at("results")[i].at("distance") == want.distances[i]);
      }
    }
  };
  check();
  const std::string red = material().picture("red/100.ppm");
  for (int i = 0; i < 8; ++i) {  // more than a tenth: the tables are built anew meanwhile
    parsed(client.Post("/api/items?label=red", red, ""), 201);
    parsed(client.Delete("/api/items/" + std::to_string(5 * i)), 200);
    check();
  }
  REQUIRE(testing::run_program(folder.path(), {"index", "compact", folder / "index"}).status == 0);
  check();
  const json ranked = parsed(client.Post("/api/search?k=3&rerank=50", red, ""), 200);
  CHECK(ranked.at("rerank") == 50);
  CHECK(ranked.at("results")[0].at("distance") < 1e-6);
  CHECK(ranked.at("results")[2].at("distance") >= ranked.at("results")[1].at("distance"));
  CHECK(parsed(client.Get("/api/search?id=60&rerank=50&k=2"), 200).at("results").size() == 2);
  parsed(client.Get("/api/search?code=0000&rerank=5"), 400);
  parsed(client.Get("/api/search?id=60&rerank=5&radius=3"), 400);
}

TEST_CASE("writes take the token", "[serve]") {
  const std::string red = material().picture("red/100.ppm");
  SECTION("when there is one") {
    Served served({"--token", "secret-7"});
    httplib::Client client = served.client();
    parsed(client.Post("/api/items", red, ""), 401);
    parsed(client.Delete("/api/items/1"), 401);
    parsed(client.Delete("/api/items/1", {{"Authorization", "Bearer secret-8"}}), 401);
    parsed(client.Delete("/api/items/1", {{"Authorization", "Bearer secret-77"}}), 401);
    parsed(client.Get("/api/items/1"), 200);
    parsed(client.Delete("/api/items/1", {{"Authorization", "Bearer secret-7"}}), 200);
  }
  SECTION("and over the network are refused without one") {
    Served served({"--host", "0.0.0.0"});
    httplib::Client client = served.client();
    parsed(client.Post("/api/items", red, ""), 403);
    parsed(client.Delete("/api/items/1"), 403);
    parsed(client.Post("/api/search", red, ""), 200);
  }
  SECTION("and are refused altogether by --read-only; without a model there are no pictures") {
    Served served({"--read-only"}, false);
    httplib::Client client = served.client();
    parsed(client.Delete("/api/items/1"), 403);
    parsed(client.Post("/api/search", red, ""), 501);
    parsed(client.Get("/api/search?id=1"), 200);
  }
}

TEST_CASE("limits of the server", "[serve]") {
  Served served(
      {"--max-body", "0.01", "--max-pixels", "0.001", "--max-concurrent", "4", "--timeout", "1"});
  httplib::Client client = served.client();
  const int port = served.port();
  const std::string large(20000, 'x');
  SECTION("bodies") {
    CHECK_THAT(answer_to(port, post("/api/encode", large)), Catch::StartsWith("HTTP/1.1 413"));
    CHECK_THAT(answer_to(port, post("/api/encode", "Transfer-Encoding: chunked\r\n",
                                    "4e20\r\n" + large + "\r\n0\r\n\r\n")),
               Catch::StartsWith("HTTP/1.1 413"));
  }
  SECTION("pictures, by their header") {
    const json error = parsed(client.Post("/api/encode", "P5 1000 1000 255\n", ""), 400);
    CHECK_THAT(error.at("error").get<std::string>(), Contains("the limit is 0.001 million"));
    parsed(client.Post("/api/encode", material().picture("red/100.ppm"), ""), 200);
  }
  SECTION("time: neither silence nor single bytes hold a connection") {
    const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(std::uint16_t(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    ssize_t sent = 1;
    int steps = 0;
    char block[512];
    ssize_t got = -1;
    for (; steps < 100 && sent == 1 && got < 0; ++steps) {
      sent = ::send(descriptor, "G", 1, MSG_NOSIGNAL);
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      got = ::recv(descriptor, block, sizeof block, MSG_DONTWAIT);
    }
    ::close(descriptor);
    CHECK(steps < 90);
    REQUIRE(got > 12);
    CHECK_THAT(std::string(block, std::size_t(got)), Catch::StartsWith("HTTP/1.1 408"));
  }
  SECTION("connections: more than so many are told to come back, and can") {
    std::vector<int> held;
    for (int i = 0; i < 4; ++i) {
      const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(std::uint16_t(port));
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      REQUIRE(::connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
      REQUIRE(::send(descriptor, "GET /", 5, MSG_NOSIGNAL) == 5);
      held.push_back(descriptor);
    }
    std::string answer;
    CHECK(testing::wait_for([&] {
      answer = answer_to(port, get("/healthz", "Connection: close\r\n"));
      return answer.starts_with("HTTP/1.1 503");
    }));
    CHECK_THAT(answer, Contains("--max-concurrent") && Contains("Retry-After"));
    for (const int descriptor : held) ::close(descriptor);
    CHECK(testing::wait_for([&] {
      return answer_to(port, get("/healthz", "Connection: close\r\n")).starts_with("HTTP/1.1 200");
    }));
  }
}

auto starts(const char* status) { return Catch::StartsWith(std::string("HTTP/1.1 ") + status); }

TEST_CASE("what HTTP leaves to clients is taken, and what is wrong is named", "[serve]") {
  Served served;
  const int port = served.port();
  const std::string red = material().picture("red/100.ppm");
  SECTION("chunks with extensions, and trailers, before another request") {
    const std::string size = fmt::format("{:X}", red.size());
    const std::string answer =
        answer_to(port, post("/api/encode", "Transfer-Encoding: chunked\r\nTrailer: X\r\n",
                             size + ";a=b\r\n" + red + "\r\n0\r\nX: 1\r\nY: 2\r\n\r\n") +
                            get("/healthz", "Connection: close\r\n"));
    CHECK_THAT(answer, starts("200") && Contains("outputs") && Catch::EndsWith("ok\n"));
  }
  SECTION("trailers without end, and chunks without a size") {
    const auto chunked = [&](const std::string& body) {
      return answer_to(port, post("/api/encode", "Transfer-Encoding: chunked\r\n", body));
    };
    std::string lines;
    while (lines.size() < (std::size_t{64} << 10)) lines += "X: 1\r\n";
    for (const std::string& trailers : {lines, "X: " + std::string(9000, 'x') + "\r\n"}) {
      CHECK_THAT(chunked("2\r\nP6\r\n0\r\n" + trailers + "\r\n"),
                 starts("431") && Contains("trailers"));
    }
    for (const char* size : {"-5", "x", "", "5x", "+5", "fffffffffffffffff"}) {
      CAPTURE(size);
      CHECK_THAT(chunked(std::string(size) + "\r\nP6"), starts("400"));
    }
  }
  SECTION("targets in absolute form, whose host counts") {
    CHECK_THAT(answer_to(port, get("http://127.0.0.1:1/healthz")), starts("200"));
    CHECK_THAT(answer_to(port, get("http://localhost/api/search?id=3&k=2")), starts("200"));
    CHECK_THAT(answer_to(port, get("http://localhost")), starts("200"));
    CHECK_THAT(answer_to(port, get("http://evil.example/healthz")), starts("403"));
    CHECK_THAT(answer_to(port, get("http://localhost/none")), starts("404"));
    CHECK_THAT(answer_to(port, get("HTTP://evil.example/healthz")), starts("403"));
    CHECK_THAT(answer_to(port, get("hTTp://localhost/healthz")), starts("200"));
    CHECK_THAT(answer_to(port, get("ftp://localhost/healthz")), starts("400"));
    const std::string length = "Content-Length: " + std::to_string(red.size()) + "\r\n";
    CHECK_THAT(answer_to(port, post("http://localhost/api/encode", length, red)), starts("200"));
  }
  SECTION("heads") {
    CHECK_THAT(answer_to(port, "\r\n\r\n" + get("/healthz")), starts("200"));
    CHECK_THAT(answer_to(port, "GET /healthz HTTP/1.1\r\n\r\n"), starts("400"));
    CHECK_THAT(answer_to(port, get("/healthz", "Host: localhost\r\n")), starts("400"));
    CHECK_THAT(answer_to(port, "GET /healthz HTTP/1.1\r\nHost: localhost:99999\r\n\r\n"),
               starts("403"));
    CHECK_THAT(answer_to(port, get("/healthz", std::string("X: a\0b\r\n", 8))), starts("400"));
    CHECK_THAT(answer_to(port, get("/healthz", "X: a\r\n b\r\n")), starts("400"));
    CHECK_THAT(answer_to(port, get("/healthz", "X: " + std::string(9000, 'x') + "\r\n")),
               starts("431"));
    CHECK_THAT(answer_to(port, get("/" + std::string(9000, 'x'))), starts("414"));
    const std::string length = std::to_string(red.size());
    CHECK_THAT(
        answer_to(port, post("/api/encode",
                             "Content-Encoding: zstd\r\nContent-Length: " + length + "\r\n", red)),
        starts("415"));
    CHECK_THAT(
        answer_to(port, post("/api/none", "Expect: 100-continue\r\nContent-Length: 9\r\n", "")),
        starts("404"));
  }
}

TEST_CASE("requests that are too slow are ended, in every part", "[serve]") {
  Served served({"--timeout", "1"});
  const int port = served.port();
  for (const std::string& begin :
       {std::string("POST /api/enc"), std::string("POST /api/encode HTTP/1.1\r\nHost: lo"),
        post("/api/encode", "Content-Length: 500\r\n", "P6"),
        post("/api/encode", "Transfer-Encoding: chunked\r\n", "20\r\nP6")}) {
    CAPTURE(begin);
    CHECK_THAT(answer_to(port, begin, /*wait=*/true), starts("408") && Contains("--timeout"));
  }
}

TEST_CASE("parameters that aren't known, or are given twice, are named", "[serve]") {
  Served served;
  const int port = served.port();
  const std::string red = material().picture("red/100.ppm");
  for (const auto& [target, meant] :
       {std::pair("/api/search?id=0&K=3", "'k'"), std::pair("/api/search?id=0&filtr=x", "'filter'"),
        std::pair("/api/search?id=0&id=1", "more than once"),
        std::pair("/api/items/3?k=1", "no parameters"),
        std::pair("/api/info?x", "no parameters")}) {
    const std::string answer = answer_to(port, get(target));
    CAPTURE(target, answer);
    CHECK_THAT(answer, starts("400") && Contains(meant));
  }
  httplib::Client client = served.client();
  const httplib::MultipartFormDataItems form{{"image", red, "x.ppm", ""}, {"lable", "red", "", ""}};
  CHECK_THAT(parsed(client.Post("/api/search", form), 400).at("error").get<std::string>(),
             Contains("'label'"));
  parsed(client.Post("/api/encode?k=1", red, ""), 400);
  parsed(client.Get("/api/search?id=0&k=2&filter=id%3E1&filter=id%3C9"), 200);
}

TEST_CASE("however many search at once, the threads are those asked for", "[serve]") {
  // As many words as are worth splitting among four threads.
  constexpr int kBits = 512, kConnections = 16, kThreads = 4;
  constexpr std::int64_t kRows = kThreads << 17;
  const testing::TemporaryFolder folder;
  retrieval::ItemSet items;
  items.set.codes = retrieval::PackedCodes(kRows, kBits);
  for (std::int64_t i = 0; i < kRows; ++i) {
    items.set.codes.row(i)[0] = std::uint64_t(i) * 0x9E3779B97F4A7C15;
    items.set.ids.push_back(i);
  }
  retrieval::build_index(folder / "index", items);
  Served served({"--threads", std::to_string(kThreads), "--max-concurrent",
                 std::to_string(kConnections), "--method", "scan"},
                false, folder / "index");
  std::vector<std::thread> clients;
  std::atomic<int> answered = 0;
  for (int i = 0; i < kConnections - 1; ++i) {
    clients.emplace_back([&, i] {
      httplib::Client client = served.client();
      const auto result = client.Get("/api/search?k=3&id=" + std::to_string(1000 * i));
      answered += result && result->status == 200;
    });
  }
  for (std::thread& client : clients) client.join();
  CHECK(answered == kConnections - 1);
  // Connections, who refuses more, who watches for the end, the team, and the main thread.
  const auto tasks = std::filesystem::directory_iterator(
      "/proc/" + std::to_string(served.program().pid()) + "/task");
  CHECK(std::distance(begin(tasks), end(tasks)) <= kConnections + 1 + 1 + kThreads + 1);
}

TEST_CASE("malformed requests get 4xx and nothing else", "[serve]") {
  Served served;
  Draws draws(11);
  const int count = full_run() ? 10000 : 500;
  for (int i = 0; i < count; ++i) {
    const std::string request = malformed_request(draws);
    CAPTURE(i, request.substr(0, 200));
    const std::string answer = answer_to(served.port(), request);
    CAPTURE(answer.substr(0, 400));
    check_refused(answer);
  }
  CHECK(parsed(served.client().Get("/api/info"), 200).at("items") == 60);
}

TEST_CASE("malformed pictures get 4xx and nothing else", "[serve]") {
  Served served;
  httplib::Client client = served.client();
  Draws draws(12);
  const std::vector<std::string> whole{material().picture("red/100.ppm"), noise_file(20),
                                       noise_file(100)};
  REQUIRE(whole[1].starts_with("\x89PNG"));
  REQUIRE(whole[2].starts_with("\xff\xd8"));
  for (const std::string& file : whole) parsed(client.Post("/api/encode", file, ""), 200);
  const int count = full_run() ? 1000 : 200;
  const char* const targets[] = {"/api/encode", "/api/search", "/api/items"};
  for (int i = 0; i < count; ++i) {
    const std::string picture = malformed_picture(draws, whole);
    CAPTURE(i, picture.substr(0, 60), picture.size());
    const json error = parsed(client.Post(targets[i % 3], picture, "image/any"), 400);
    REQUIRE(error.contains("error"));
  }
  CHECK(parsed(client.Get("/api/info"), 200).at("items") == 60);
}

TEST_CASE("acknowledged changes survive kill -9", "[serve]") {
  Served served;
  const std::string red = material().picture("red/100.ppm");
  const std::size_t together = GENERATE(1, 3);  // pictures of a request
  const httplib::MultipartFormDataItems form(together, {"image", red, "x", ""});
  std::vector<std::int64_t> ids;
  Draws draws(13);
  const int rounds = full_run() ? 30 : 3;
  for (int round = 0; round < rounds; ++round) {
    if (round > 0) served.start();
    std::atomic<std::size_t> acknowledged = 0;
    std::thread adding([&] {
      httplib::Client client = served.client();
      for (;;) {
        const auto result = together == 1 ? client.Post("/api/items", red, "")
                                          : client.Post("/api/items/batch", form);
        if (!result || result->status != 201) return;
        const json answer = json::parse(result->body);
        for (const json& item : answer.value("added", json{answer})) ids.push_back(item.at("id"));
        ++acknowledged;
      }
    });
    CHECK(testing::wait_for([&] { return acknowledged > 0; }));
    std::this_thread::sleep_for(std::chrono::milliseconds(draws.below(200)));
    served.program().signal(SIGKILL);
    adding.join();
    CHECK(served.program().wait() == 128 + SIGKILL);
    const auto index = retrieval::Index::open(served.index());
    for (const std::int64_t id : ids) CHECK(index.row_of(id));
    // At most the one in flight, of each round, is there without having been acknowledged; and it
    // is there as a whole.
    CHECK(index.count() >= 60 + std::int64_t(ids.size()));
    CHECK(index.count() <= 60 + std::int64_t(ids.size() + together * std::size_t(round + 1)));
    CHECK((index.count() - 60) % std::int64_t(together) == 0);
  }
}

TEST_CASE("a full disk refuses changes and keeps the index", "[serve]") {
  const testing::TemporaryFolder folder;
  const std::filesystem::path disk = folder / "disk";
  std::filesystem::create_directory(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=1m") != 0) {
    WARN("not tested: no small disk can be mounted here: " << std::strerror(errno));
    return;
  }
  struct Unmount {
    std::filesystem::path disk;
    ~Unmount() { ::umount2(disk.c_str(), MNT_DETACH); }
  } const unmount{disk};
  {
    Served served({}, true, disk / "index");
    httplib::Client client = served.client();
    const std::string red = material().picture("red/100.ppm");
    parsed(client.Post("/api/items", red, ""), 201);
    {
      std::ofstream filler(disk / "filler", std::ios::binary);
      const std::string block(4096, 'x');
      while (filler.write(block.data(), 4096).flush()) continue;
    }
    int refused = 0;
    std::int64_t added = 1;  // what still fits in pages that the files have
    for (int i = 0; i < 12; ++i) {
      const auto result = client.Post("/api/items?name=" + std::string(900, 'n'), red, "");
      REQUIRE(result);
      CAPTURE(result->body);
      REQUIRE((result->status == 507 || result->status == 201));
      result->status == 507 ? void(++refused) : void(++added);
    }
    CHECK(refused > 0);
    CHECK(parsed(client.Get("/api/info"), 200).at("items") == 60 + added);
    CHECK(parsed(client.Get("/api/search?id=60&k=3"), 200).at("results").size() == 3);
    std::filesystem::remove(disk / "filler");
    parsed(client.Post("/api/items", red, ""), 201);
    served.program().signal(SIGTERM);
    CHECK(served.program().wait() == 0);
    CHECK(retrieval::Index::open(disk / "index").count() == 61 + added);
  }
}

TEST_CASE("a signal lets running requests finish", "[serve]") {
  Served served;
  const std::string red = material().picture("red/100.ppm");
  // The rest of this request comes after the signal.
  const std::string request = post("/api/encode", red);
  const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(std::uint16_t(served.port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::send(descriptor, request.data(), 100, MSG_NOSIGNAL) == 100);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  served.program().signal(SIGTERM);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK(served.program().running());
  REQUIRE(::send(descriptor, request.data() + 100, request.size() - 100, MSG_NOSIGNAL) > 0);
  std::string answer;
  char block[4096];
  for (ssize_t got; (got = ::recv(descriptor, block, sizeof block, 0)) > 0;) {
    answer.append(block, std::size_t(got));
  }
  ::close(descriptor);
  CHECK_THAT(answer, Catch::StartsWith("HTTP/1.1 200") && Contains("outputs"));
  CHECK(served.program().wait() == 0);
}

}  // namespace
}  // namespace hh
