// SPDX-License-Identifier: Apache-2.0
// encode and eval, as a user runs them.
#include <algorithm>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "retrieval/codes/code_file.h"
#include "retrieval/files/npy.h"
#include "tests/apps/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_data.h"

namespace hh {
namespace {

using Catch::Contains;
using testing::Outcome, testing::run_program;

/// Three colours, learnt in twelve epochs; its commands must succeed.
struct Learnt {
  Learnt() {
    testing::make_tiny_images(folder / "images");
    testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
    run({"train", path("tiny.toml"), "--out", path("run"), "--set", "train.epochs=12"});
  }
  std::string path(const std::string& name) const { return (folder / name).string(); }
  std::string run(const std::vector<std::string>& words) const {
    const Outcome outcome = run_program(folder.path(), words);
    INFO(outcome.err);
    REQUIRE(outcome.status == 0);
    return outcome.out;
  }
  /// Codes of the split's queries and database, these with outputs, in q.codes and db.codes.
  void encode_both() const {
    run({"encode", "--model", model, "--part", "query", "--out", path("q.codes"), "--npy",
         path("q.npy"), "--npy-outputs", path("q_outputs.npy")});
    run({"encode", "--model", model, "--part", "database", "--out", path("db.codes"), "--outputs"});
  }
  const testing::TemporaryFolder folder;
  const std::string model = path("run/best.safetensors");
};

TEST_CASE("codes of a trained model go through files into the same evaluation", "[encode][eval]") {
  const Learnt learnt;
  const auto path = [&](const std::string& name) { return learnt.path(name); };
  learnt.encode_both();
  const retrieval::CodeSet queries = retrieval::read_code_file(path("q.codes"));
  const retrieval::CodeSet database = retrieval::read_code_file(path("db.codes"));
  CHECK(queries.count() == 12);
  CHECK(database.count() == 48);
  CHECK(queries.classes == 3);
  CHECK(queries.class_names == std::vector<std::string>{"blue", "green", "red"});
  CHECK_THAT(queries.name(0), Contains(".ppm"));
  CHECK(queries.model_hash.size() == 16);
  CHECK(queries.model_hash == database.model_hash);
  CHECK(queries.outputs.empty());
  CHECK(database.outputs.size() == 48 * 16);

  SECTION("the arrays say the same") {
    const auto bits = retrieval::read_npy<std::uint8_t>(path("q.npy"));
    CHECK(bits.shape == std::vector<std::int64_t>{12, 2});
    CHECK(bits.values == queries.codes.to_bytes());
    const auto outputs = retrieval::read_npy<float>(path("q_outputs.npy"));
    REQUIRE(outputs.shape == std::vector<std::int64_t>{12, 16});
    CHECK(retrieval::PackedCodes::from_floats(outputs.values, 12, 16).to_bytes() == bits.values);
  }
  SECTION("eval of files equals eval of the run, and three colours are learnt") {
    const std::string text =
        learnt.run({"eval", "--queries", path("q.codes"), "--database", path("db.codes"), "--json",
                    path("files.json"), "--out", path("report")});
    CHECK_THAT(text, Contains("12 queries, 48 database items, 16 bits"));
    learnt.run({"eval", "--run", path("run"), "--json", path("run.json"), "--out", path("of_run")});
    CHECK_THAT(testing::read_text(learnt.folder / "of_run/report.html"),
               Contains("<summary>recipe of the model</summary>") && Contains("bits = 16"));
    const auto read = [&](const char* name) {
      return nlohmann::json::parse(testing::read_text(learnt.folder / name));
    };
    CHECK(read("files.json") == read("run.json"));
    const double map = read("files.json").at("map").at("stable");
    CHECK(map > 0.6);  // chance is 1/3
    for (const char* file : {"eval.json", "report.html", "precision_recall.svg",
                             "precision_at_k.svg", "recall_at_k.svg", "radius.svg", "bits.svg"}) {
      CAPTURE(file);
      CHECK(std::filesystem::file_size(learnt.folder / "report" / file) > 100);
    }
    const std::string page = testing::read_text(learnt.folder / "report/report.html");
    CHECK_THAT(page, Contains("<svg") && Contains("green") && Contains(" UTC on ") &&
                         Contains("model: ") && Contains("prefers-color-scheme:dark"));
    for (const char* outside : {"<script", "src=", "href=", "url("})
      CHECK(page.find(outside) == std::string::npos);
  }
}

TEST_CASE("folder, class folder, list and files give the codes of the data set", "[encode]") {
  const Learnt learnt;
  const auto path = [&](const std::string& name) { return learnt.path(name); };
  learnt.run({"encode", "--model", learnt.model, "--part", "all", "--out", path("all.codes")});
  const auto all = retrieval::read_code_file(path("all.codes")).codes.to_bytes();
  learnt.run({"encode", "--model", learnt.model, "--class-folder", path("images"), "--out",
              path("classes.codes")});
  const auto classes = retrieval::read_code_file(path("classes.codes"));
  CHECK(classes.codes.to_bytes() == all);
  CHECK(classes.classes == 3);
  learnt.run({"encode", "--model", learnt.model, "--folder", path("images"), "--out",
              path("folder.codes"), "--workers", "3", "--batch", "7"});
  const auto plain = retrieval::read_code_file(path("folder.codes"));
  CHECK(plain.codes.to_bytes() == all);
  CHECK(plain.classes == 0);
  testing::write_text(learnt.folder / "list.txt", path("images/green/100.ppm") + " 0 1 0\n" +
                                                      path("images/red/101.ppm") + " 0 0 1\n");
  learnt.run(
      {"encode", "--model", learnt.model, "--list", path("list.txt"), "--out", path("list.codes")});
  learnt.run({"encode", "--model", learnt.model, path("images/green/100.ppm"),
              path("images/red/101.ppm"), "--out", path("two.codes")});
  const auto list = retrieval::read_code_file(path("list.codes"));
  const auto two = retrieval::read_code_file(path("two.codes"));
  CHECK(list.codes.to_bytes() == two.codes.to_bytes());
  CHECK(list.label_view().has(1, 2));
  CHECK(two.names.at(1) == path("images/red/101.ppm"));
}

TEST_CASE("what can't be encoded or compared is named", "[encode][eval]") {
  const Learnt learnt;
  const auto path = [&](const std::string& name) { return learnt.path(name); };
  SECTION("a broken image stops encoding with its name, or is skipped") {
    // As many bytes as before: of another size it wouldn't be an image of the split any more.
    const auto broken = learnt.folder / "images/red/103.ppm";
    testing::write_text(broken, std::string(std::filesystem::file_size(broken), 'x'));
    const Outcome outcome =
        run_program(learnt.folder.path(),
                    {"encode", "--model", learnt.model, "--part", "all", "--out", path("x.codes")});
    CHECK(outcome.status == 2);
    CHECK_THAT(outcome.err, Contains("103.ppm"));
    CHECK(!std::filesystem::exists(learnt.folder / "x.codes"));
    const Outcome skipped =
        run_program(learnt.folder.path(), {"encode", "--model", learnt.model, "--part", "all",
                                           "--out", path("x.codes"), "--skip-bad"});
    CHECK(skipped.status == 0);
    CHECK_THAT(skipped.err, Contains("103.ppm"));
    CHECK(retrieval::read_code_file(path("x.codes")).count() == 59);
  }
  SECTION("codes of another model are refused") {
    learnt.encode_both();
    learnt.run({"train", path("tiny.toml"), "--out", path("other"), "--set", "train.epochs=1",
                "--set", "train.seed=9"});
    learnt.run({"encode", "--model", path("other/best.safetensors"), "--part", "query", "--out",
                path("o.codes")});
    const Outcome outcome = run_program(learnt.folder.path(), {"eval", "--queries", path("o.codes"),
                                                               "--database", path("db.codes")});
    CHECK(outcome.status == 2);
    CHECK_THAT(outcome.err, Contains("encode both with one model"));
  }
  SECTION("a model whose weights were changed is refused") {
    std::string bytes = testing::read_text(learnt.model);
    bytes[bytes.size() - 3] = char(bytes[bytes.size() - 3] ^ 1);
    testing::write_text(learnt.folder / "damaged.safetensors", bytes);
    const Outcome outcome =
        run_program(learnt.folder.path(), {"encode", "--model", path("damaged.safetensors"),
                                           "--part", "query", "--out", path("x.codes")});
    CHECK(outcome.status == 2);
    CHECK_THAT(outcome.err, Contains("the file is damaged"));
  }
}

}  // namespace
}  // namespace hh
