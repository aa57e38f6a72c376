// SPDX-License-Identifier: Apache-2.0
// hybridhash search, as a user and as a program run it.
#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <cstring>
#include <nlohmann/json.hpp>

#include "retrieval/codes/code_file.h"
#include "retrieval/files/npy.h"
#include "tests/apps/program.h"
#include "tests/support/codes.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_data.h"

namespace hh {
namespace {

using Catch::Contains;
using testing::Outcome, testing::run_program;

class Folder {
 public:
  std::string operator/(const std::string& name) const { return (folder_ / name).string(); }
  std::string run(const std::vector<std::string>& words, int status = 0) const {
    const Outcome outcome = run_program(folder_.path(), words);
    CAPTURE(words, outcome.err);
    REQUIRE(outcome.status == status);
    return status == 0 ? outcome.out : outcome.err;
  }
  nlohmann::json json(std::vector<std::string> words) const {
    words.push_back("--json");
    const std::string out = run(words);
    const std::size_t end = out.find_last_not_of('\n'), begin = out.rfind('\n', end);
    return nlohmann::json::parse(out.substr(begin == std::string::npos ? 0 : begin + 1));
  }

 private:
  testing::TemporaryFolder folder_;
};

void write_array(const std::string& path, const std::vector<std::uint64_t>& words) {
  std::vector<std::uint8_t> bytes(words.size() * 8);
  std::memcpy(bytes.data(), words.data(), bytes.size());
  retrieval::write_npy<std::uint8_t>(path, std::vector<std::int64_t>{std::int64_t(words.size()), 8},
                                     bytes);
}

TEST_CASE("a program searches by arrays", "[search]") {
  const Folder folder;
  const auto database = testing::codes(500, 64, 1, 20), queries = testing::codes(30, 64, 2, 20);
  write_array(folder / "db.npy", database);
  write_array(folder / "q.npy", queries);
  folder.run({"index", "build", "--codes", folder / "db.npy", "--out", folder / "x"});
  const auto expected = [&](const std::vector<std::uint64_t>& codes, std::int64_t k) {
    std::vector<std::int64_t> ids;
    for (const std::uint64_t query : queries) {
      std::vector<std::pair<int, std::int64_t>> order;
      for (std::size_t i = 0; i < codes.size(); ++i) {
        order.emplace_back(std::popcount(codes[i] ^ query), std::int64_t(i));
      }
      std::sort(order.begin(), order.end());
      for (std::int64_t i = 0; i < k; ++i) {
        ids.push_back(i < std::int64_t(order.size()) ? order[std::size_t(i)].second : -1);
      }
    }
    return ids;
  };
  const auto search = [&](const std::string& k, const std::vector<std::string>& more) {
    std::vector<std::string> words{
        "search", "--index",   folder / "x", "--codes", folder / "q.npy", "-k",
        k,        "--threads", "2",          "--out",   folder / "r.npy"};
    words.insert(words.end(), more.begin(), more.end());
    const auto json = folder.json(words);
    CHECK(json.at("search_seconds") > 0);
    CHECK(json.at("queries") == 30);
    CHECK(!json.contains("results"));
    const auto ids = retrieval::read_npy<std::int64_t>(folder / "r.npy");
    CHECK(ids.shape == std::vector<std::int64_t>{30, std::stoll(k)});
    return ids.values;
  };
  CHECK(search("10", {}) == expected(database, 10));
  for (const char* method : {"auto", "scan", "multi-index"}) {
    CHECK(search("10", {"--method", method}) == expected(database, 10));
    const auto json = folder.json(
        {"search", "--index", folder / "x", "--codes", folder / "q.npy", "--method", method});
    // So few codes are scanned without measuring anything.
    CHECK(json.at("method") == (std::string(method) == "multi-index" ? "multi-index" : "scan"));
    CHECK(json.contains("choice") == (std::string(method) == "auto"));
  }
  CHECK(search("502", {"--out-distances", folder / "d.npy"}) == expected(database, 502));
  const auto distances = retrieval::read_npy<std::int32_t>(folder / "d.npy").values;
  CHECK(distances[501] == -1);
  CHECK(std::is_sorted(distances.begin(), distances.begin() + 500));
}

TEST_CASE("people search by code, id, radius and filters", "[search]") {
  const Folder folder;
  retrieval::CodeSet set;
  const std::vector<std::uint8_t> bytes{0x01, 0x82, 0x01, 0x83, 0xff, 0xff, 0x01, 0x82};
  set.codes = retrieval::PackedCodes::from_bytes(bytes, 4, 16);
  set.ids = {10, 11, 12, 13};
  set.classes = 2;
  set.class_names = {"cat", "dog"};
  set.labels = {1, 1, 2, 2};
  set.names = {"a.png", "b.png", "c.png", "d.png"};
  retrieval::write_code_file(folder / "x.codes", set);
  folder.run({"index", "build", "--codes", folder / "x.codes", "--out", folder / "x"});
  const auto ids = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"search", "--index", folder / "x"});
    std::vector<std::int64_t> found;
    const auto json = folder.json(words);
    for (const auto& result : json.at("results")[0].at("results")) found.push_back(result.at("id"));
    return found;
  };
  using Ids = std::vector<std::int64_t>;
  CHECK(ids({"--code", "0182"}) == Ids{10, 13, 11, 12});
  CHECK(ids({"--code", "1000000001000001", "-k", "2"}) == Ids{10, 13});
  CHECK(ids({"--code", "0182", "--radius", "1"}) == Ids{10, 13, 11});
  CHECK(ids({"--id", "13", "--exclude-self"}) == Ids{10, 11, 12});
  CHECK(ids({"--id", "13", "-k", "2", "--exclude-self"}) == Ids{10, 11});
  CHECK(ids({"--id", "13", "-k", "2", "--filter", "label=dog"}) == Ids{13, 12});
  CHECK(ids({"--id", "13", "--filter", "path~[ab].png"}) == Ids{10, 11});
  const std::string table =
      folder.run({"search", "--index", folder / "x", "--id", "13", "--id", "12", "-k", "3"});
  CHECK_THAT(table, Contains("d.png (dog)  0182") && Contains("c.png (dog)  ffff"));
  CHECK_THAT(table, Contains("10         0  cat    a.png  (other class)"));
  const auto sampled = [&](const char* seed) {
    return folder
        .json({"search", "--index", folder / "x", "--codes", folder / "x.codes", "--sample", "2",
               "--seed", seed})
        .at("results");
  };
  CHECK(sampled("1").size() == 2);
  CHECK(sampled("1") == sampled("1"));
  CHECK_THAT(folder.run({"search", "--index", folder / "x", "--code", "01"}, 2),
             Contains("4 hexadecimal digits"));
  CHECK_THAT(
      folder.run({"search", "--index", folder / "x", "--id", "13", "--method", "asymmetric"}, 2),
      Contains("--outputs"));
  CHECK_THAT(folder.run({"search", "--index", folder / "x", "--id", "1"}, 2),
             Contains("no item with id 1"));
  CHECK_THAT(folder.run({"search", "--index", folder / "x"}, 2), Contains("what to search for"));
  CHECK_THAT(folder.run({"search", "--index", folder / "x", "--image", "a.png"}, 2),
             Contains("--model"));
  CHECK_THAT(
      folder.run({"search", "--index", folder / "x", "--id", "13", "--filter", "label=cow"}, 2),
      Contains("cat, dog"));
}

TEST_CASE("images find their like, and a page shows them", "[search]") {
  const Folder folder;
  testing::make_tiny_images(folder / "images");
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
  folder.run({"train", folder / "tiny.toml", "--out", folder / "run", "--set", "train.epochs=2"});
  const std::string model = folder / "run/best.safetensors";
  folder.run({"index", "build", "--model", model, "--class-folder", folder / "images", "--out",
              folder / "x"});
  const std::string red = folder / "images/red/100.ppm";
  const auto json = folder.json({"search", "--index", folder / "x", "--model", model, "--image",
                                 red, "-k", "60", "--html", folder / "page.html"});
  const auto& results = json.at("results")[0].at("results");
  REQUIRE(results.size() == 60);
  const auto self = std::find_if(results.begin(), results.end(), [&](const auto& result) {
    return result.at("path").template get<std::string>().ends_with("red/100.ppm");
  });
  REQUIRE(self != results.end());
  CHECK(self->at("distance") == 0);
  CHECK(self->at("labels") == nlohmann::json({"red"}));
  const std::string page = testing::read_text(folder / "page.html");
  CHECK_THAT(page, Contains("<img") && Contains("alt=\"red, ") && Contains("distance 0"));
  for (const char* outside : {"<script", "http", "src=\"/", "url(", "@import"}) {
    CAPTURE(outside);
    CHECK(page.find(outside) == std::string::npos);
  }
  const auto real = folder.json({"search", "--index", folder / "x", "--model", model, "--image",
                                 red, "--method", "asymmetric", "-k", "60"});
  CHECK(real.at("method") == "asymmetric");
  const auto& order = real.at("results")[0].at("results");
  REQUIRE(order.size() == 60);
  CHECK(order[0].at("distance") <= 1e-5);
  for (std::size_t i = 1; i < 60; ++i) {
    CHECK(order[i].at("distance").get<float>() >= order[i - 1].at("distance").get<float>());
  }
  // Without outputs in the index there is nothing to re-rank by.
  CHECK_THAT(folder.run({"search", "--index", folder / "x", "--model", model, "--image", red,
                         "--rerank", "10"},
                        2),
             Contains("--keep-outputs"));
  folder.run({"index", "build", "--model", model, "--class-folder", folder / "images", "--out",
              folder / "y", "--keep-outputs"});
  const auto reranked = folder.json({"search", "--index", folder / "y", "--model", model, "--image",
                                     red, "-k", "5", "--rerank", "40"});
  CHECK(reranked.at("rerank") == 40);
  const auto& best = reranked.at("results")[0].at("results");
  REQUIRE(best.size() == 5);
  CHECK(best[0].at("path") == self->at("path"));
  CHECK(best[0].at("distance") < 1e-6);
  for (std::size_t i = 1; i < 5; ++i) {
    CHECK(best[i].at("distance").get<float>() >= best[i - 1].at("distance").get<float>());
  }
  // An item brings its outputs along.
  const std::string id = best[0].at("id").dump();
  const auto by_id = folder.json({"search", "--index", folder / "y", "--id", id, "-k", "4",
                                  "--rerank", "40", "--exclude-self"});
  const auto& others = by_id.at("results")[0].at("results");
  REQUIRE(others.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) CHECK(others[i].at("id") == best[i + 1].at("id"));
  testing::write_text(folder / "list.txt", red + " 0 0 1\n" + red + " 0 0 1\n");
  const auto listed = folder.json(
      {"search", "--index", folder / "x", "--model", model, "--list", folder / "list.txt"});
  CHECK(listed.at("results").size() == 2);
  CHECK(listed.at("results")[1] == listed.at("results")[0]);
  CHECK(listed.at("results")[0].at("results")[0].contains("same_class"));
}

}  // namespace
}  // namespace hh
